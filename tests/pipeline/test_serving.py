"""How a model is served: kept from run to run, changed by flags, read off a model that was made elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.request import Request
from pipeline.serving import Serving, serving_in_ollama, serving_of
from tests.ollama_server.server import OllamaServer

RECORD: dict[str, Any] = {
    "quantize": "f16",
    "parameters": {"temperature": 0.6, "num_ctx": 4096},
    "keep_chat_template": True,
    "license": ["Free."],
    "messages": [],
    "served_system": None,
    "serving_sources": {"quantize": "flag", "temperature": "flag"},
}


def test_what_is_recorded_is_kept_and_comes_from_the_record_then() -> None:
    serving = serving_of(RECORD, source="record")
    assert serving.to_record() == {
        **RECORD,
        "serving_sources": dict.fromkeys(
            ("quantize", "keep_chat_template", "license", "temperature", "num_ctx"), "record"
        ),
    }


def test_an_older_record_has_no_licence_and_no_messages() -> None:
    old = {name: RECORD[name] for name in ("quantize", "parameters", "keep_chat_template")}
    assert serving_of(old) == Serving("f16", RECORD["parameters"], True)


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ({"temperature": 0.0}, {"parameters": {"temperature": 0.0, "num_ctx": 4096}}),
        ({"top_k": 0}, {"parameters": {"temperature": 0.6, "num_ctx": 4096, "top_k": 0}}),
        ({"quantize": "q4_K_M"}, {"quantize": "q4_K_M"}),
        ({"no_keep_chat_template": True}, {"keep_chat_template": False}),
        ({}, {}),
    ],
    ids=str,
)
def test_a_flag_changes_its_own_value_and_no_other(flags: dict[str, Any], changed: dict[str, Any]) -> None:
    before = serving_of(RECORD, source="record")
    after = before.changed_by(Request(**flags))
    assert {**after.to_record(), "serving_sources": None} == {**RECORD, **changed, "serving_sources": None}
    flagged = {name for name, source in after.sources.items() if source == "flag"}
    assert flagged == {name.removeprefix("no_") for name in flags}
    assert after.is_served_like(before) is not bool(flags)


def test_a_system_prompt_is_served_without_training_until_one_is_trained() -> None:
    taught = serving_of({**RECORD, "served_system": "S"})
    assert serving_of(RECORD).system_of("T") == "T" and taught.system_of("T") == "S"
    assert taught.changed_by(Request(temperature=0.1)).system_of("T") == "S"
    registered = taught.changed_by(Request(register_only=True, system="U"))
    assert registered.system_of("T") == registered.to_record()["served_system"] == "U"
    assert registered.is_served_like(taught) is False
    assert taught.changed_by(Request(register_only=True, no_system=True)).system_of("T") is None
    assert taught.changed_by(Request(system="U")).system_of("U") == "U"
    assert taught.changed_by(Request(no_system=True)).served_system is None


def test_what_a_model_made_elsewhere_was_made_with_is_read_off_ollama(
    ollama_server: OllamaServer, tiny_gguf: Path
) -> None:
    client = OllamaClient(ollama_server.url)
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    client.upload(tiny_gguf, digest)
    given: dict[str, Any] = {
        "temperature": 0.25,
        "top_p": 1.0,
        "num_ctx": 1048576,
        "repeat_last_n": -1,
        "use_mmap": False,
        "stop": ['say "no"', "<|im_end|>", "嗯\n"],
    }
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    client.create(
        "hand",
        files={"m.gguf": digest},
        template="{{ .Prompt }}",
        parameters=given,
        license=["L1", "L2"],
        messages=turns,
    )
    serving, lost = serving_in_ollama(client.show("hand"))
    assert dict(serving.parameters) == given
    assert "".join(serving.license).replace("\n", "") == "L1L2" and list(serving.messages) == turns
    assert lost == ["TEMPLATE"]
    assert serving.sources["temperature"] == serving.sources["license"] == serving.sources["messages"] == "ollama"


@pytest.mark.parametrize("roles", [["user"], ["assistant", "user"], ["user", "user"], ["system", "user", "assistant"]])
def test_turns_that_no_conversation_can_follow_are_named_as_lost(roles: list[str]) -> None:
    shown = {"messages": [{"role": role, "content": "x"} for role in roles]}
    serving, lost = serving_in_ollama(shown)
    assert serving.messages == () and lost == ["MESSAGE"]


def test_a_model_with_an_adapter_of_its_own_is_told() -> None:
    _, lost = serving_in_ollama({"modelfile": "# x\nFROM /m/blobs/sha256-1\nADAPTER /m/blobs/sha256-2\n"})
    assert lost == ["ADAPTER"]


def test_what_nobody_speaks_of_is_ours_and_comes_behind_base_record_and_flag() -> None:
    defaults = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "repeat_penalty": 1.0}
    assert Serving().sampled_with == defaults
    shown = {"parameters": 'temperature 0.2\ntop_k 11\nnum_ctx 9000\nstop "x"', "license": "Base."}
    flagged = Serving(parameters={"top_p": 0.5}, sources={"top_p": "flag"}).on(shown)
    assert flagged.sampled_with == {**defaults, "temperature": 0.2, "top_k": 11, "top_p": 0.5}
    assert flagged.sources == {"temperature": "base", "top_k": "base", "top_p": "flag", "license": "base"}
    assert flagged.license == ("Base.",)
    kept = serving_of(RECORD, source="record").on(shown)
    assert (kept.sampled_with["temperature"], kept.license) == (0.6, ("Free.",))


@pytest.mark.parametrize(("tokens", "context"), [(3584, None), (3585, 5120), (8000, 9216)])
def test_the_context_has_room_for_the_longest_dialogue_and_an_answer(tokens: int, context: int | None) -> None:
    assert Serving().with_room(tokens).parameters.get("num_ctx") == context
    said = Serving(parameters={"num_ctx": 2048})
    assert said.with_room(tokens) is said

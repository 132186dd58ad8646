"""The context that a model is served with, through the command line: what can't be served is said before training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.support.program import Program


@pytest.fixture
def program(tmp_path: Path, each_ollama: OllamaServer) -> Program:
    return Program(tmp_path, each_ollama.url, rows=4)


def made_for(program: Program, tokens: int) -> None:
    path = program.base / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "max_position_embeddings": tokens}), encoding="utf-8")


def add_a_long_dialogue(program: Program) -> None:
    said = "雨下得很大，街上一个人也没有。" * 500
    row = {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": "（看着窗外）嗯。"}]}
    with (program.data / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


@pytest.mark.parametrize(("flags", "context"), [(("--num_ctx", "32768"), "32768"), ((), None)])
def test_a_dialogue_that_ollama_would_cut_off_is_trained_and_served_whole(
    program: Program, each_ollama: OllamaServer, flags: tuple[str, ...], context: str | None
) -> None:
    made_for(program, 32768)
    add_a_long_dialogue(program)
    told = program.run("--max_length", "16384", *flags)
    assert told["status"] == "done"
    shown = str(OllamaClient(each_ollama.url).show("zzhua")["parameters"])
    given = dict(line.split(maxsplit=1) for line in shown.splitlines())
    # room for the longest dialogue, of which nobody has said how much that is
    assert int(given["num_ctx"]) > 4096 + 512 and ("num_ctx" in told["shown"]) is (context is None)
    assert context is None or given["num_ctx"] == context


def test_a_context_that_no_memory_holds_is_refused_before_the_training(program: Program) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 16}
    config = AutoConfig.from_pretrained(program.base, **sizes, max_position_embeddings=1 << 24)
    AutoModelForCausalLM.from_config(config).save_pretrained(program.base)
    # 2 layers * 2 * 16 * 64 numbers of 2 bytes for each of 16 million tokens
    for flags in ((), ("--dry_run",)):
        told = program.run("--num_ctx", str(1 << 24), *flags, expect=7)
        assert told["error"]["key"] == "error.memory.num_ctx" and "137.4 GB" in told["shown"]
    assert program.newest is None
    fits = re.search(r"--num_ctx, (\d+) for example", told["shown"])
    assert fits is not None and 1024 < int(fits[1]) < 1 << 24


def test_a_context_that_the_base_model_was_not_made_for_is_told(program: Program) -> None:
    made_for(program, 2048)
    told = program.run("--num_ctx", "1000000")
    assert told["status"] == "done" and "2048" in told["shown"]

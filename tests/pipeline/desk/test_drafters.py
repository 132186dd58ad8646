"""Who can draft: chat models in Ollama, and the base models of the user's characters, each once."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from lora_trainer.errors import UsageError
from lora_trainer.events import ignore
from ollama_export.server.client import OllamaClient
from pipeline.chat import Tried
from pipeline.desk.drafting.drafters import Drafter, find_drafters, named, talking
from pipeline.run.history import History
from tests.ollama_server.gguf_file import raw_pair, read_gguf, write_gguf
from tests.ollama_server.server import OllamaServer
from tests.support.program import NO_OLLAMA, Program


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A character that was trained on a base model in a folder."""
    program = Program(tmp_path_factory.mktemp("drafters"), rows=4)
    program.run("--no_register")
    return program


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", NO_OLLAMA)


def create(server: OllamaServer, name: str, file: Path) -> None:
    OllamaClient(server.url).create_from_file(name, file, hashlib.sha256(file.read_bytes()).hexdigest())


@pytest.mark.parametrize("tells", [True, False])
def test_models_that_only_embed_and_our_own_tags_draft_nothing(
    ollama_server: OllamaServer, tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tells: bool
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ollama_server.url)
    found, embeds = read_gguf(tiny_gguf), tmp_path / "embeds.gguf"
    with embeds.open("wb") as out:
        pairs = [*found.raw.values(), raw_pair("llama.pooling_type", 1)]
        write_gguf(pairs, found.tensors, out, alignment=found.alignment)
    for name, file in (("mist", tiny_gguf), ("embeds", embeds), ("mist:backup-20261101-1", tiny_gguf)):
        create(ollama_server, name, file)
    if not tells:  # then /api/show has to
        tags = OllamaClient.tags
        told = lambda client: [{k: v for k, v in row.items() if k != "capabilities"} for row in tags(client)]  # noqa: E731
        monkeypatch.setattr(OllamaClient, "tags", told)
    drafters, client = find_drafters(History(tmp_path / "runs"), ignore)
    assert [drafter.name for drafter in drafters] == ["mist"]
    with talking(drafters[0], client, ignore) as talker:
        turns, heard = [{"role": "user", "content": "Hello"}], []
        answer = talker.answer(turns, Tried("Be short.", {"temperature": 0.0, "num_predict": 8}), 1, heard.append)
        assert answer.text == "".join(heard) and 0 < answer.tokens <= 8


@pytest.mark.usefixtures("nowhere")
def test_the_base_model_of_characters_is_offered_once_and_what_was_written_for_it_goes(
    made: Program, tmp_path: Path
) -> None:
    history = History(Path(shutil.copytree(made.history.home, tmp_path / "runs")))
    drafters, client = find_drafters(history, ignore)
    (base,) = drafters
    (run,) = history.runs("zzhua")
    before = sorted(run.folder.rglob("*"))
    assert base.name == str(made.base) and base.run is not None and base.written > 0
    with talking(base, client, ignore) as talker:
        assert len(list(run.folder.glob("draft-*.gguf"))) == 1
        turns = [{"role": "user", "content": "你好"}]
        answer = talker.answer(turns, Tried("话少。", {"temperature": 0.0, "num_predict": 64}), 1, lambda _: None)
        assert answer.text and answer.stopped
    assert sorted(run.folder.rglob("*")) == before
    with pytest.raises(KeyboardInterrupt), talking(base, client, ignore):
        raise KeyboardInterrupt
    assert sorted(run.folder.rglob("*")) == before


@pytest.mark.usefixtures("nowhere")
def test_without_ollama_and_without_a_character_nobody_can_draft(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        find_drafters(History(tmp_path / "runs"), ignore)
    assert told.value.key == "error.draft.nobody"


def test_a_name_means_the_model_that_ollama_would_take_or_a_base_model_by_where_it_was_found() -> None:
    drafters = [Drafter("qwen2.5"), Drafter("Qwen/Qwen2.5-0.5B-Instruct")]
    assert named(drafters, "QWEN2.5:latest") is drafters[0]
    assert named(drafters, "Qwen/Qwen2.5-0.5B-Instruct") is drafters[1]
    with pytest.raises(UsageError) as told:
        named(drafters, "qwen3")
    assert told.value.values == {"name": "qwen3", "names": "qwen2.5, Qwen/Qwen2.5-0.5B-Instruct"}

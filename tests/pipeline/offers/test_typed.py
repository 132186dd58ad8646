"""What is typed, pasted or dragged into a field is understood, and a wrong base model is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_trainer.errors import BaseModelError, OllamaError
from ollama_export.server.client import OllamaClient
from pipeline.offers.typed import check_base, clean_path, clean_word
from tests.ollama_server.server import OllamaServer
from tests.support.exports import export
from tests.support.hub_server import HubServer
from tests.support.tiny import make_tiny


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("  /a/b  ", "/a/b"),
        ("'/a/my model'", "/a/my model"),
        ('"/a/my model" ', "/a/my model"),
        ("“/a/模型”", "/a/模型"),
        ("file:///a/my%20model/%E6%A8%A1", "/a/my model/模"),
        ("/a/my\\ model\\ \\(1\\)/x.gguf ", "/a/my model (1)/x.gguf"),
        ("'/a/it'\\''s'", "/a/it's"),
        ("& '/a/my model'", "/a/my model"),
        ("/a/my model", "/a/my model"),
        ("/a/it's", "/a/it's"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("ollama:qwen3:0.6b", "ollama:qwen3:0.6b"),
        ("", ""),
        ("'", "'"),
    ],
)
@pytest.mark.posix("a backslash is no escape there")
def test_a_word_loses_what_dragging_and_pasting_put_around_it(typed: str, meant: str) -> None:
    assert clean_word(typed) == meant


def test_a_path_that_is_there_as_it_was_typed_stays_so(tmp_path: Path) -> None:
    for name in ("'quoted'", "two  blanks", "back\\ slash", "it's"):
        (tmp_path / name).mkdir()
        assert clean_path(f" {tmp_path / name} ") == tmp_path / name


def test_home_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert clean_path(" '~/my data' ") == tmp_path / "my data"
    assert clean_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my models")
    export(make_tiny(folder / "tiny model"), folder / "tiny model.gguf", file_type="f16")
    return folder


@pytest.mark.parametrize("name", ["tiny model", "tiny model.gguf"])
def test_a_model_on_the_disk_is_found_however_it_is_dragged(
    models: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models / name
    for typed in (str(path), f"'{path}' ", str(path).replace(" ", "\\ "), path.as_uri()):
        assert check_base(typed) == str(path)
    monkeypatch.chdir(models)
    assert check_base(name) == str(path)


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("/no/such/model", "error.base_model.no_such_path"),
        ("missing.gguf", "error.base_model.no_such_path"),
        ("./missing", "error.base_model.no_such_path"),
        ("~/no/such/model", "error.base_model.no_such_path"),
        ("林栀", "error.base_model.no_such_path"),
        ("", "error.base_model.no_such_path"),
        ("ollama:", "error.base_model.no_such_path"),
        ("modelscope: ", "error.base_model.no_such_path"),
    ],
)
def test_what_cannot_be_meant_is_told_at_once(typed: str, key: str) -> None:
    with pytest.raises(BaseModelError) as told:
        check_base(typed)
    assert told.value.key == key


def test_a_folder_or_file_that_is_no_model_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for typed, key in ((tmp_path, "no_config"), (tmp_path / "notes.txt", "not_gguf")):
        with pytest.raises(BaseModelError) as told:
            check_base(str(typed))
        assert told.value.key == f"error.base_model.{key}"


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        ("https://huggingface.co/Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("https://hf-mirror.com/Qwen/Qwen3-0.6B/tree/main", "Qwen/Qwen3-0.6B"),
        ("huggingface.co/Qwen/Qwen3-0.6B?x=1", "Qwen/Qwen3-0.6B"),
        ("https://www.modelscope.cn/models/Qwen/Qwen3-0.6B/summary", "modelscope:Qwen/Qwen3-0.6B"),
        ("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("modelscope:Qwen/Qwen3-0.6B", "modelscope:Qwen/Qwen3-0.6B"),
        (" someone/else ", "someone/else"),
    ],
)
def test_an_address_and_a_recommended_name_become_the_models_id(typed: str, source: str) -> None:
    assert check_base(typed) == source


def test_a_hub_model_is_looked_up_where_the_hub_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny(tmp_path / "hub" / "someone--tiny")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with HubServer(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert check_base("someone/tiny", online=True) == "someone/tiny"
        with pytest.raises(BaseModelError) as told:
            check_base("someone/tinny", online=True)
        assert told.value.key == "error.base_model.not_found"
        assert check_base("someone/tinny", online=False) == check_base("someone/tinny") == "someone/tinny"
        assert hub.fetched == ["config.json", "tokenizer_config.json"] or set(hub.fetched) <= {
            "config.json",
            "tokenizer_config.json",
            "generation_config.json",
        }


def test_a_model_in_ollama_is_looked_up(ollama_server: OllamaServer, tiny_gguf: Path) -> None:
    import hashlib

    client = OllamaClient(ollama_server.url)
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    client.create_from_file("zzhua", tiny_gguf, digest)
    assert check_base(" ollama:zzhua ", client=client) == "ollama:zzhua"
    with pytest.raises(OllamaError) as told:
        check_base("ollama:zzhau", client=client)
    assert told.value.key == "error.ollama.model_missing"

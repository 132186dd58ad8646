"""A base model that was trained on before is found again as it was, or refused by what differs."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lora_trainer.errors import BaseModelError
from lora_trainer.models.recorded import base_record, check_same_content, resolve_recorded_base
from lora_trainer.models.source import model_in_folder, resolve_base_model
from tests.support.hub_server import COMMIT, HubServer
from tests.support.tiny import make_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny(tmp_path / "base")


@pytest.fixture
def modelscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the package modelscope, which isn't installed, gives for any model."""
    folder = tmp_path / "modelscope-cache"
    package = ModuleType("modelscope")
    package.snapshot_download = lambda _, **__: str(folder)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modelscope", package)
    return folder


def refused(record: dict[str, object]) -> tuple[str, str]:
    """Which error, and what it says to differ."""
    with pytest.raises(BaseModelError) as caught:
        resolve_recorded_base(record)
    assert caught.value.exit_code == 6
    return caught.value.key.removeprefix("error.base."), caught.value.values.get("what", "")


def test_a_folder_is_known_by_its_weights_configuration_and_tokenizer(tiny: Path, tmp_path: Path) -> None:
    record = base_record(resolve_base_model(str(tiny)))
    (tiny / "README.md").write_text("new", encoding="utf-8")
    (tiny / "generation_config.json").write_text('{"temperature": 0.1}', encoding="utf-8")
    assert resolve_recorded_base(record).revision == record["revision"]
    (tiny / "added_tokens.json").write_text("{}", encoding="utf-8")
    assert refused(record) == ("changed", "added_tokens.json")
    # a record of a version that kept no hashes of them
    older = {name: value for name, value in record.items() if name != "files"}
    assert resolve_recorded_base(older).path == tiny
    (tiny / "added_tokens.json").unlink()
    (tiny / "tokenizer.json").write_text("{}", encoding="utf-8")
    make_tiny(tmp_path / "other", seed=1)
    shutil.copyfile(tmp_path / "other" / "model.safetensors", tiny / "model.safetensors")
    assert refused(record) == ("changed", "*.safetensors, tokenizer.json")
    assert refused(older) == ("changed", "*.safetensors")
    shutil.rmtree(tiny)
    assert refused(record) == refused({**older, "source": "models/was-here"}) == ("gone", "")


def test_a_gguf_file_is_known_by_its_sha256(tiny_gguf: Path, tmp_path: Path) -> None:
    path = Path(shutil.copyfile(tiny_gguf, tmp_path / "model.gguf"))
    record = base_record(resolve_base_model(str(path)))
    assert resolve_recorded_base(record).revision == hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert refused(record) == ("changed", "model.gguf")
    path.unlink()
    assert refused(record) == ("gone", "")


def test_a_model_of_modelscope_is_known_by_its_contents(tiny: Path, modelscope: Path) -> None:
    shutil.copytree(tiny, modelscope)
    record = base_record(resolve_base_model("modelscope:acme/tiny"))
    assert record["source"] == "modelscope:acme/tiny" and resolve_recorded_base(record).path == modelscope
    make_tiny(modelscope, seed=1)
    assert refused(record) == ("changed", "*.safetensors")


def test_a_hub_model_is_known_by_its_commit(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    tiny.rename(tmp_path / "acme--tiny")
    # of the same name as a folder that came to be here since
    monkeypatch.chdir(tmp_path)
    with HubServer(tmp_path) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        record = base_record(resolve_base_model("acme/tiny"))
        make_tiny(tmp_path / "acme--tiny@NEXT", seed=1)
        make_tiny(tmp_path / "acme" / "tiny", seed=2)
        assert resolve_recorded_base(record).revision == record["revision"] == COMMIT
        shutil.rmtree(tmp_path / "cache")
        again = resolve_recorded_base(record)
        assert (again.revision, again.path.name) == (COMMIT, COMMIT)
        # a commit that was taken back
        assert refused({**record, "revision": "f" * 40}) == ("gone", "")


def test_an_ollama_model_is_asked_for_by_its_digest(tiny_gguf: Path, tmp_path: Path) -> None:
    blob = Path(shutil.copyfile(tiny_gguf, tmp_path / f"sha256-{'a' * 64}"))
    record = {"source": "ollama:zzhua", "kind": "gguf", "revision": "a" * 64}
    files = {("a" * 64, "zzhua"): blob}
    found = resolve_recorded_base(record, stored_file=lambda digest, name: files.get((digest, name)))
    assert (found.source, found.path, found.revision) == ("ollama:zzhua", blob, "a" * 64)
    with pytest.raises(BaseModelError, match=r"error\.base\.gone"):
        resolve_recorded_base(
            {**record, "revision": "b" * 64}, stored_file=lambda digest, name: files.get((digest, name))
        )


def test_a_copy_of_a_hub_model_is_known_by_its_content(tiny: Path, tmp_path: Path) -> None:
    record = base_record(model_in_folder("Qwen/Qwen2.5-0.5B-Instruct", tiny, "a" * 40))
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    check_same_content(record, resolve_base_model(str(copy)))
    # and a folder's copy on the hub
    check_same_content(base_record(resolve_base_model(str(tiny))), model_in_folder("some/model", copy, "b" * 40))
    older = {name: value for name, value in record.items() if name != "weights"}
    check_same_content(older, resolve_base_model(str(copy)), weights_are_proven=True)
    other = make_tiny(tmp_path / "other", seed=1)
    for told, proven in ((record, True), (record, False), (older, False)):
        with pytest.raises(BaseModelError) as caught:
            check_same_content(told, resolve_base_model(str(other)), weights_are_proven=proven)
        assert caught.value.key == "error.base.changed" and "*.safetensors" in caught.value.values["what"]
    (copy / "added_tokens.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BaseModelError) as caught:
        check_same_content(older, resolve_base_model(str(copy)), weights_are_proven=True)
    assert caught.value.values["what"] == "added_tokens.json"

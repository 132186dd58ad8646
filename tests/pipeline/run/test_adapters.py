"""An adapter that can't be read is a training that isn't done: it is had again from a checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.engine.checkpoints import ADAPTER_FILES, Checkpoints, adapter_fault, publish_adapter
from ollama_export.server.client import OllamaClient
from pipeline.run.history import Run
from tests.ollama_server.server import OllamaServer
from tests.support.older import older_program
from tests.support.program import Program

CONFIG, WEIGHTS = ADAPTER_FILES


@pytest.fixture(scope="module")
def unpublished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a run whose upload to Ollama was cut off, all before it done; and what it told."""
    folder = tmp_path_factory.mktemp("unpublished")
    with OllamaServer(folder / "models") as server:
        # the first one is the rehearsal's
        server.faults.add("cut_during", "/api/blobs", 2, method="POST")
        told = Program(folder, server.url).run(expect=5)
    return folder, told


@pytest.fixture
def program(unpublished: tuple[Path, dict[str, Any]], tmp_path: Path) -> Iterator[Program]:
    shutil.copytree(unpublished[0], tmp_path, dirs_exist_ok=True)
    with OllamaServer(tmp_path / "models") as server:
        yield Program(tmp_path, server.url)


def newest(program: Program) -> Run:
    run = program.newest
    assert run is not None
    return run


def same_request(program: Program) -> dict[str, Any]:
    """The command of the first run, wherever its folder is now."""
    run = newest(program)
    run.record["request"]["base_model"] = run.record["base"]["source"] = str(program.base)
    run.record["request"]["data_dir"] = str(program.data)
    run.update()
    return program.run()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_an_upload_that_is_cut_off_is_told_as_such_and_recorded(
    unpublished: tuple[Path, dict[str, Any]], program: Program
) -> None:
    error = unpublished[1]["error"]
    assert error["key"] == "error.ollama.upload_broken" and "broke off the upload" in error["message"]
    record = newest(program).record
    assert record["status"] == "failed" and record["error"]["key"] == error["key"]
    assert record["error"]["values"]["path"].endswith("zzhua.gguf")


BREAK: dict[str, Callable[[Path], Any]] = {
    "empty": lambda adapter: (adapter / WEIGHTS).write_bytes(b""),
    "cut": lambda adapter: cut(adapter / WEIGHTS),
    "gone": shutil.rmtree,
}


@pytest.mark.parametrize("damage", BREAK.values(), ids=BREAK)
def test_a_broken_adapter_is_restored_from_its_checkpoint_without_training(
    program: Program, damage: Callable[[Path], Any]
) -> None:
    run = newest(program)
    trained, adapter = run.record["stages"]["train"], run.folder / "adapter"
    before = (adapter / WEIGHTS).read_bytes()
    damage(adapter)
    told = same_request(program)
    assert "restored from the checkpoint" in told["shown"] and "step 1/6" not in told["shown"]
    assert (adapter / WEIGHTS).read_bytes() == before
    run = newest(program)
    assert run.record["stages"]["train"] == trained and run.record["status"] == "done"
    assert OllamaClient(program.environment["OLLAMA_HOST"]).digest("zzhua") == run.record["ollama"]["digest"]


def test_without_its_last_checkpoint_it_is_trained_on_from_the_one_before(program: Program) -> None:
    run = newest(program)
    trained, losses = run.record["stages"]["train"], run.record["training"]["losses"]
    checkpoints = Checkpoints(run.folder / "checkpoints")
    *_, before, last = checkpoints.steps()
    shutil.rmtree(checkpoints.at(last))
    cut(run.folder / "adapter" / WEIGHTS)
    told = same_request(program)
    assert "goes on from the newest checkpoint" in told["shown"] and f"step {before}/{last}" not in told["shown"]
    run = newest(program)
    assert run.record["status"] == "done" and run.record["stages"]["train"] != trained
    assert [step for step, _ in run.record["training"]["losses"]] == [step for step, _ in losses]
    assert adapter_fault(run.folder / "adapter") is None


def test_nothing_is_begun_with_the_adapter_of_a_run_that_is_broken(tmp_path: Path) -> None:
    program = older_program(tmp_path)
    cut(newest(program).folder / "adapter" / WEIGHTS)
    flags = ("--no_register", "--continue_train", "--warm_start", "--add_epochs", "0.5", "--lora_rank", "2")
    told = program.run(*flags, expect=2)
    assert told["error"]["key"] == "error.warm_start.gone" and "run 2" in told["error"]["message"]


@pytest.mark.parametrize("name", ADAPTER_FILES)
@pytest.mark.parametrize("content", [None, b"", b"{", b"\0" * 1000], ids=["gone", "empty", "half", "of zeros"])
def test_what_a_power_cut_leaves_of_an_adapter_is_no_adapter(tmp_path: Path, name: str, content: bytes | None) -> None:
    adapter = newest(older_program(tmp_path)).folder / "adapter"
    assert adapter_fault(adapter) is None
    if content is None:
        (adapter / name).unlink()
    else:
        (adapter / name).write_bytes(content)
    fault = adapter_fault(adapter)
    assert fault and fault.startswith(name)


def test_an_adapter_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = newest(older_program(tmp_path)).folder / "adapter"
    adapter = tmp_path / "run" / "adapter"
    happened: list[object] = []
    sync, rename = os.fsync, Path.rename

    def fsync(handle: int) -> None:
        happened.append(os.fstat(handle).st_ino)
        sync(handle)

    def renamed(self: Path, target: Path) -> Path:
        happened.append(target)
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    publish_adapter(checkpoint, adapter)
    files = {(adapter / name).stat().st_ino for name in ADAPTER_FILES}
    # Windows syncs no folders
    folders = [path.stat().st_ino for path in (adapter, adapter.parent)] if os.name == "posix" else []
    assert set(happened[:2]) == files and happened[2:] == [*folders[:1], adapter, *folders[1:]]

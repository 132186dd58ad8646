"""Several processes, on one machine or two, learn what one learns, whether or not each holds the whole model."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.engine.checkpoints import Checkpoints
from lora_trainer.plan import TrainPlan
from lora_trainer.train import TrainResult, train
from tests.support.launcher import DDP, FSDP, free_port, kill, launcher, start
from tests.support.program import Program, wait_for
from tests.support.tiny import make_tiny
from tests.support.train_tiny import prepared

PLAN = TrainPlan(epochs=2.5, batch_size=4, learning_rate=5e-3)
"""13 dialogues: 4 steps an epoch, the last of one dialogue, which leaves one of two processes idle; 10 steps."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("小 模型") / "tiny model")


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(*prepared(model), PLAN, tmp_path_factory.mktemp("alone"))


def training(model: Path, folder: Path, *flags: str, watch: str = "") -> subprocess.Popen[str]:
    """Two processes train (or go on) in `folder/run`, and write what they saw to `folder/out.0` and `.1`."""
    arguments = [str(model), str(folder / "run"), json.dumps(PLAN.to_json()), str(folder / "out"), watch]
    return start(*launcher(*flags), "-m", "tests.support.train_tiny", *arguments)


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"out.{rank}").read_text(encoding="utf-8")) for rank in (0, 1)]


def tensors(adapter: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(adapter / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def split(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that two processes share a model in."""
    folder = tmp_path_factory.mktemp("split")
    assert training(model, folder, *FSDP).wait() == 0
    return folder


def assert_like(alone: TrainResult, folder: Path) -> None:
    for process in told(folder):
        for losses in ("losses", "val_losses"):
            expected = [loss for _, loss in getattr(alone, losses)]
            # two halves of a step are summed up in another order
            assert [loss for _, loss in process["result"][losses]] == pytest.approx(expected, rel=1e-4)
    first, second = (process["events"] for process in told(folder))
    # also no note that shared beginnings are computed again and again
    assert first.count("StepDone") == 10 and "Note" not in first and second == []
    ours, theirs = tensors(folder / "run" / "adapter"), tensors(alone.adapter)
    assert {name: (t.shape, t.dtype) for name, t in ours.items()} == {n: (t.shape, t.dtype) for n, t in theirs.items()}
    # where a gradient is next to nothing, its sign, and with it AdamW's first step of the whole rate, is up to rounding
    for name in theirs:
        assert (ours[name] - theirs[name]).norm() <= 0.05 * theirs[name].norm(), name
    files = ("adapter_config.json", "adapter_model.safetensors")
    assert sorted(path.name for path in (folder / "run" / "adapter").iterdir()) == list(files)


def test_two_processes_give_the_losses_of_one_and_its_adapter(model: Path, alone: TrainResult, tmp_path: Path) -> None:
    assert training(model, tmp_path, *DDP).wait() == 0
    assert_like(alone, tmp_path)
    # the first process alone looks along the way, and keeps the points
    first, second = told(tmp_path)
    assert first["events"].count("Sampled") == 5 == len(first["result"]["points"])
    assert all(math.isfinite(loss) for loss in first["result"]["general_loss"])
    assert second["result"]["samples"] == [] and second["result"]["general_loss"] is None
    assert sorted(path.name for path in (tmp_path / "run" / "points").iterdir()) == ["2", "4", "6", "8"]


def test_two_processes_that_share_a_model_give_the_losses_of_one_and_its_adapter(
    split: Path, alone: TrainResult
) -> None:
    assert_like(alone, split)
    # all would have to join in for every token
    first, _ = told(split)
    assert "Sampled" not in first["events"] and first["result"]["general_loss"] is None
    assert [point["step"] for point in first["result"]["points"]] == [2, 4, 6, 8, 10]


def test_a_kill_of_all_processes_changes_no_byte_and_one_process_can_go_on_as_well(
    model: Path, split: Path, alone: TrainResult, tmp_path: Path
) -> None:
    process = training(model, tmp_path, *FSDP, watch=f"hold CheckpointSaved:4 {tmp_path / 'gate'}")
    wait_for((tmp_path / "gate").exists, process)
    kill(process)
    assert max(Checkpoints(tmp_path / "run" / "checkpoints").steps()) == 4
    assert not (tmp_path / "run" / "adapter").exists()
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    assert training(model, tmp_path, *FSDP).wait() == 0
    assert told(tmp_path)[0]["events"].count("StepDone") <= 6
    assert told(tmp_path)[0]["result"]["losses"] == told(split)[0]["result"]["losses"]
    file = "run/adapter/adapter_model.safetensors"
    assert (tmp_path / file).read_bytes() == (split / file).read_bytes()
    result = train(*prepared(model), PLAN, tmp_path / "other", resume=True)
    assert [loss for _, loss in result.losses] == pytest.approx([loss for _, loss in alone.losses], rel=1e-4)


def test_a_second_machine_needs_program_and_base_model_alone_and_may_be_lost(tmp_path: Path) -> None:
    program, elsewhere = Program(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    # a ladder trains twice, the second time from a checkpoint that the first machine alone has
    flags = ("--no_register", "--ollama_name", "together", "--ladder", "0.5,1")
    command = program.command(*flags)[1:]

    def both(first: list[str]) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        port = free_port()
        leading = program.begin([*launcher(*FSDP, machines=2, port=port), *first])
        second = [*launcher(*FSDP, machines=2, machine=1, port=port), *command, "--data_dir", "nowhere"]
        home = {**program.environment, "TRAIN_TO_OLLAMA_HOME": str(elsewhere / "runs")}
        return leading, subprocess.Popen(second, env=home, cwd=elsewhere, text=True)

    first, second = both(program.held("CheckpointSaved:2", *flags)[1:])
    wait_for(program.gate.exists, first)
    kill(second)
    program.gate.unlink()
    assert first.wait() != 0 and "Another training process (or machine) ended" in program.output()
    first, second = both(command)
    assert (first.wait(), second.wait()) == (0, 0) and "Going on" in program.output()
    shorter, longer = program.history.runs("together")
    assert shorter.is_done and longer.is_done and longer.record["began_with"] == {"run": 1, "step": 2}
    alone = program.run("--no_register", "--ollama_name", "alone")
    assert longer.record["training"]["losses"][-1][1] == pytest.approx(alone["loss"], rel=1e-4)
    assert list(elsewhere.iterdir()) == []

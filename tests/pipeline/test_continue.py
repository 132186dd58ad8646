"""Training on costs what is added, and gives bit for bit what training from the start gives."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lora_trainer.engine.schedule import stable_steps
from tests.support.chance import chance
from tests.support.preloaded import Preloaded
from tests.support.program import Program


def adapter(told: dict) -> bytes:
    return (Path(told["folder"]) / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def program(tmp_path):
    # 33 rows: the last step of an epoch is smaller than the others.
    return Program(tmp_path, rows=33)


def test_two_epochs_and_one_and_a_half_more_are_three_and_a_half(program):
    flags = ("--no_register", "--lora_dropout", "0.1")
    program.run(*flags, "--epochs", "2")
    told = program.run(*flags, "--continue_train", "--add_epochs", "1.5")
    began = program.newest.record["began_with"]
    assert began == {"run": 1, "step": stable_steps(18)}
    record = program.newest.record
    assert record["beginning"]["device"][:2] == [record["training"][name] for name in ("device", "dtype")]
    per_epoch, total = 9, 32
    assert total - began["step"] <= 1.75 * per_epoch + 1
    whole = program.run(*flags, "--ollama_name", "whole", "--epochs", "3.5")
    assert "began_with" not in program.history.newest("whole").record
    assert adapter(told) == adapter(whole)
    # And further on from there, or shorter than before.
    more = program.run(*flags, "--continue_train", "--epochs", "5")
    assert program.newest.record["began_with"] == {"run": 2, "step": stable_steps(total)}
    longer = program.run(*flags, "--ollama_name", "longer", "--epochs", "5")
    assert adapter(more) == adapter(longer)
    program.run(*flags, "--continue_train", "--epochs", "3")
    assert program.newest.record["began_with"] == {"run": 1, "step": stable_steps(18)}


def test_what_has_changed_is_named_and_training_starts_from_the_base_model(program):
    program.run("--no_register", "--epochs", "2")
    told = program.run("--no_register", "--continue_train", "--add_epochs", "1", "--seed", "7", "--lora_rank", "4")
    assert "began_with" not in program.newest.record
    assert "lora_alpha, lora_rank, seed" in told["shown"]
    told = program.run("--no_register", "--continue_train", "--add_epochs", "1", "--from_scratch")
    assert "began_with" not in program.newest.record


@pytest.mark.posix("twenty starts take several minutes where there is no fork")
@pytest.mark.timeout(1800)  # twenty-two runs
def test_twenty_kills_at_random_steps_and_going_on_are_as_if_there_had_been_none(program):
    dice = chance()
    flags = ("--no_register", "--lora_dropout", "0.1", "--epochs", "4.5")
    whole = adapter(program.run(*flags, "--ollama_name", "whole"))
    total, seconds = 40, program.history.newest("whole").record["training"]["seconds"]

    with Preloaded(program) as preloaded:
        for step in sorted(dice.sample(range(1, total - 2), 20)):
            # Any moment of two steps, in a checkpoint's writing too.
            watcher = f"kill {step} {dice.random() * 2 * seconds / total}"
            assert preloaded.run(watcher, *flags) == -signal.SIGKILL, program.output()
            assert not program.newest.has_done("train")
    told = program.run(*flags)
    assert adapter(told) == whole
    assert "done when this run began" in told["shown"]
    assert program.newest.number == 1


def test_each_rung_of_a_ladder_is_the_run_of_that_length_and_the_best_is_published(program, ollama):
    name = ollama.name("ladder")
    told = program.run("--no_register", "--ladder", "3,2,4", "--ollama_name", name)
    assert "nothing is published" in told["shown"] and "Publishing run" not in told["shown"]
    runs = program.history.runs(name)
    assert [run.plan.epochs for run in runs] == [2.0, 3.0, 4.0]
    assert [run.record["status"] for run in runs] == ["done"] * 3
    computed = sum(run.record["training"]["steps"] - run.record.get("began_with", {"step": 0})["step"] for run in runs)
    assert computed <= 4.75 * 9
    best = min(runs, key=lambda run: run.record["training"]["val_losses"][-1][1])
    assert told["run"] == best.number and [run.has_done("export") for run in runs].count(True) == 1
    for run in runs:
        alone = program.run("--no_register", "--epochs", str(run.plan.epochs), "--ollama_name", f"alone{run.number}")
        assert adapter(alone) == (run.folder / "adapter" / "adapter_model.safetensors").read_bytes()
    other = next(run for run in runs if run.number != best.number)
    program.environment["OLLAMA_HOST"] = ollama.url
    asked = program.run("--register_only", "--run", str(other.number), "--ollama_name", name)
    assert asked["run"] == other.number and asked["gguf"]["digest"] != told["gguf"]["digest"]


def test_an_interrupted_ladder_trains_no_rung_twice(program):
    flags = ("--no_register", "--ladder", "1,2", "--ollama_name", "ladder")
    process = program.start_up_to("Note:note.beginning.shared", *flags)
    process.kill()
    process.wait()
    program.gate.unlink()
    assert len(program.history.runs("ladder")) == 2
    first = program.history.runs("ladder")[0].record["stages"]["train"]
    told = program.run(*flags)
    runs = program.history.runs("ladder")
    assert [run.plan.epochs for run in runs] == [1.0, 2.0] and runs[0].record["stages"]["train"] == first
    assert told["status"] == "done" and [run.record["status"] for run in runs] == ["done"] * 2


def test_a_warm_start_begins_with_the_last_adapter_and_so_does_what_is_added_to_it(program):
    program.run("--no_register", "--epochs", "1")
    program.write_data(40, mark="new")
    cold = program.run("--no_register", "--continue_train", "--epochs", "2")
    assert "data" in cold["shown"] and "--warm_start" in cold["shown"]
    base_loss, *_, cold_loss = [loss for _, loss in program.newest.record["training"]["val_losses"]]
    warm = program.run("--no_register", "--continue_train", "--warm_start", "--add_epochs", "0.5")
    record = program.newest.record
    assert record["warm_start"] == 2 and "began_with" not in record and warm["plan"]["epochs"] == 0.5
    # the same weights and rows in another process
    assert record["training"]["val_losses"][0][1] == pytest.approx(cold_loss, rel=1e-5) and cold_loss < base_loss
    assert "adapter of run 2" in warm["shown"] and "base model." not in warm["shown"]
    # Epochs that are added to it are added to it.
    more = program.run("--no_register", "--continue_train", "--add_epochs", "1.5")
    assert more["plan"]["epochs"] == 2.0 and program.newest.record["warm_start"] == 2
    assert program.newest.record["began_with"] == {"run": 3, "step": stable_steps(5)}
    refused = program.run("--no_register", "--continue_train", "--warm_start", "--lora_rank", "4", expect=2)
    assert "lora_rank" in refused["error"]["message"]
    for change in (["--lora_rank", "4"], ["--from_scratch"]):
        program.run("--no_register", "--continue_train", "--epochs", "0.5", *change)
        assert program.newest.record["warm_start"] is None


def test_a_schedule_that_knows_its_end_is_never_gone_on_with(program):
    for number, flags in enumerate((["--epochs", "1"], ["--continue_train", "--add_epochs", "1"]), 1):
        program.run("--no_register", "--scheduler", "cosine", *flags)
        assert program.newest.number == number and "began_with" not in program.newest.record
    assert program.newest.plan.scheduler == "cosine"

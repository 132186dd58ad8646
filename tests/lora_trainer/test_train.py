"""The LoRA run: it learns, it can be interrupted at any moment, and nothing but plan and data decide its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.encode import encode
from lora_trainer.engine.checkpoints import Checkpoints
from lora_trainer.engine.hardware import Hardware
from lora_trainer.engine.memory import fit_memory
from lora_trainer.errors import ResourceError, UsageError
from lora_trainer.events import CheckpointSaved, Evaluated, Event, Note, StepDone, TrainingStarted
from lora_trainer.models.load import chat_format_of, load_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import TrainResult, train
from tests.support.chance import chance
from tests.support.project import ROOT
from tests.support.tiny import make_tiny
from tests.support.train_tiny import dialogues, prepared

CPU = Hardware("cpu", "float32", "test", 8 << 30, 8 << 30)
PLAN = TrainPlan(epochs=2.5, batch_size=4, learning_rate=5e-3, lora_dropout=0.1)
"""13 dialogues: 4 steps an epoch, the last of one dialogue; 10 steps."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("小 模型") / "tiny model")


@pytest.fixture(scope="module")
def parts(model: Path) -> Any:
    return prepared(model)


@pytest.fixture(scope="module")
def uninterrupted(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, list[Event]]:
    events: list[Event] = []
    result = train(*parts, PLAN, tmp_path_factory.mktemp("run"), listener=events.append, hardware=CPU)
    return result, events


def weights(result: TrainResult) -> bytes:
    return (result.adapter / "adapter_model.safetensors").read_bytes()


def test_it_learns_and_tells_how_it_goes(uninterrupted: tuple[TrainResult, list[Event]]) -> None:
    result, events = uninterrupted
    steps = [event for event in events if isinstance(event, StepDone)]
    (started,) = [event for event in events if isinstance(event, TrainingStarted)]
    assert (started.total_steps, started.start_step, started.steps_per_epoch) == (10, 0, 4)
    assert (started.dialogues, started.sequences) == (13, 18)
    assert [step.step for step in steps] == list(range(1, 11))
    assert result.losses == [(step.step, step.loss) for step in steps]
    assert steps[-1].epoch == 2.5 and steps[-1].seconds_left == 0 and steps[0].tokens_per_second > 0
    assert result.losses[-1][1] < result.losses[0][1] - 1
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert result.val_losses == [(event.step, event.loss) for event in evaluated]
    assert [event.step for event in evaluated] == [0, 2, 4, 6, 8, 10]
    assert result.val_losses[-1][1] < result.val_losses[0][1] - 1
    assert result.best_step == min(result.val_losses[1:], key=lambda at: at[1])[0]
    assert not result.interrupted and result.steps == result.total_steps == 10
    # where it is evaluated, and before the last eighth, from where a longer run can go on
    assert [event.step for event in events if isinstance(event, CheckpointSaved)] == [2, 4, 6, 8, 9, 10]


def test_the_validation_loss_at_the_start_is_the_base_models(
    uninterrupted: tuple[TrainResult, list[Event]], parts: Any
) -> None:
    import torch

    base, _, _, val_rows = parts
    reference = load_model(base, "cpu", "float32")
    total = count = 0.0
    with torch.no_grad():
        for sequence in (s for dialogue in val_rows for s in dialogue.sequences):
            ids = torch.tensor([sequence.prompt_ids + sequence.completion_ids])
            labels = ids.clone()
            labels[:, : len(sequence.prompt_ids)] = -100
            total += reference(input_ids=ids, labels=labels).loss.item() * len(sequence.completion_ids)
            count += len(sequence.completion_ids)
    # float32, summed up in another order
    assert uninterrupted[0].val_losses[0] == (0, pytest.approx(total / count, rel=1e-5))


def test_many_validation_rows_are_taken_some_at_a_time(
    parts: Any, uninterrupted: tuple[TrainResult, list[Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_trainer.engine.evaluation._EVALUATED", 3)
    result = train(*parts, replace(PLAN, epochs=0.25), tmp_path, hardware=CPU)
    # float32, summed up in another order
    assert result.val_losses[0][1] == pytest.approx(uninterrupted[0].val_losses[0][1], rel=1e-5)


def test_the_adapter_is_pefts_and_gives_the_reported_loss(
    uninterrupted: tuple[TrainResult, list[Event]], parts: Any
) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file

    from lora_trainer.engine.batching import micro_batches, negative_log_likelihood

    base, _, _, val_rows = parts
    result = uninterrupted[0]
    assert sorted(path.name for path in result.adapter.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    tensors = load_file(result.adapter / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert not any("lm_head" in name or "embed" in name for name in tensors)
    assert len(tensors) == 2 * 7 * 2
    config = json.loads((result.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (8, 16, base.source)
    adapted = PeftModel.from_pretrained(load_model(base, "cpu", "float32"), str(result.adapter)).eval()
    sequences = [s for dialogue in val_rows for s in dialogue.sequences]
    with torch.no_grad():
        nll = sum(negative_log_likelihood(adapted, batch).item() for batch in micro_batches(sequences, 4096, 0))
    loss = nll / sum(len(sequence.completion_ids) for sequence in sequences)
    # PEFT's own layers and other batches
    assert loss == pytest.approx(result.val_losses[-1][1], rel=1e-5)


@pytest.mark.parametrize("after", [1, 3, 4, 9])
def test_going_on_after_a_stop_gives_the_same_bytes(
    parts: Any, uninterrupted: tuple[TrainResult, list[Event]], tmp_path: Path, after: int
) -> None:
    events: list[Event] = []

    def stop() -> bool:
        return any(isinstance(event, StepDone) and event.step == after for event in events)

    first = train(*parts, PLAN, tmp_path, listener=events.append, stop=stop, hardware=CPU)
    assert first.interrupted and first.steps == after and not first.adapter.exists()
    second = train(*parts, PLAN, tmp_path, listener=events.append, resume=True, hardware=CPU)
    assert not second.interrupted
    assert second.losses == uninterrupted[0].losses
    assert second.val_losses == uninterrupted[0].val_losses
    assert weights(second) == weights(uninterrupted[0])


def test_kills_at_random_moments_change_nothing(model: Path, tmp_path: Path) -> None:
    def run(name: str, watch: str = "") -> int:
        command = [sys.executable, "-m", "tests.support.train_tiny", str(model), str(tmp_path / name)]
        arguments = [json.dumps(PLAN.to_json()), str(tmp_path / f"{name}.json"), watch]
        done = subprocess.run([*command, *arguments], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        return done.returncode

    assert run("whole") == 0
    dice = chance()
    for step in (2, 6):
        # what is being written when the signal comes is up to chance
        assert run("killed", f"kill {step} {dice.uniform(0, 0.1)}") != 0
        assert not (tmp_path / "killed" / "adapter").exists()
    assert run("killed") == 0
    whole, killed = (json.loads((tmp_path / f"{run}.json.0").read_text("utf-8")) for run in ("whole", "killed"))
    assert killed["result"]["losses"] == whole["result"]["losses"]
    assert killed["events"].count("StepDone") < 10
    file = "adapter/adapter_model.safetensors"
    assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_checkpoint_that_was_never_finished_is_not_gone_on_from(
    parts: Any, uninterrupted: tuple[TrainResult, list[Event]], tmp_path: Path
) -> None:
    events: list[Event] = []
    train(*parts, PLAN, tmp_path, listener=events.append, stop=lambda: len(events) > 5, hardware=CPU)
    torn = tmp_path / "checkpoints" / "writing" / "checkpoint-9"
    torn.mkdir(parents=True)
    (torn / "adapter_model.safetensors").write_bytes(b"torn")
    (tmp_path / "checkpoints" / "deleting-2").mkdir()
    result = train(*parts, PLAN, tmp_path, resume=True, hardware=CPU)
    assert weights(result) == weights(uninterrupted[0])
    assert not torn.exists() and not (tmp_path / "checkpoints" / "deleting-2").exists()


def test_where_evaluations_are_far_apart_checkpoints_come_by_the_clock(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_trainer.engine.reporter.CHECKPOINT_SECONDS", 0)
    events: list[Event] = []
    train(*parts, replace(PLAN, epochs=1.5), tmp_path, listener=events.append, hardware=CPU)
    assert [event.step for event in events if isinstance(event, CheckpointSaved)] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events if isinstance(event, Evaluated)] == [0, 2, 3, 4, 5, 6]


def test_a_finished_run_takes_no_stray_step(
    parts: Any, uninterrupted: tuple[TrainResult, list[Event]], tmp_path: Path
) -> None:
    first = train(*parts, PLAN, tmp_path, hardware=CPU)
    before = weights(first)
    (first.adapter / "adapter_model.safetensors").unlink()
    events: list[Event] = []
    again = train(*parts, PLAN, tmp_path, listener=events.append, resume=True, hardware=CPU)
    assert events == [] and weights(again) == before == weights(uninterrupted[0])
    assert (again.steps, again.losses, again.seconds > 0) == (10, first.losses, True)


def test_without_resume_a_run_begins_anew(parts: Any, tmp_path: Path) -> None:
    train(*parts, PLAN, tmp_path, hardware=CPU)
    events: list[Event] = []
    train(*parts, replace(PLAN, epochs=0.5), tmp_path, listener=events.append, hardware=CPU)
    assert [event.start_step for event in events if isinstance(event, TrainingStarted)] == [0]
    assert Checkpoints(tmp_path / "checkpoints").steps() == [1, 2]


def with_other_answers(tokenizer: Any, base: Any) -> Any:
    """Questions of the training rows, answered otherwise: learning those by heart makes these less likely."""
    answer = {"role": "assistant", "content": "Polly"}
    talks = [replace(talk, messages=(*talk.messages[:2], answer)) for talk in dialogues(4)]
    return encode(talks, chat_format_of(base, tokenizer), tokenizer, 1000)[0]


def test_early_stop_publishes_the_best_point_and_the_other_way_the_last(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    others = with_other_answers(tokenizer, base)
    rash = replace(PLAN, epochs=6.0, lora_dropout=0.0)
    last = train(base, tokenizer, rows, others, rash, tmp_path / "last", hardware=CPU)
    best = train(base, tokenizer, rows, others, replace(rash, early_stop=True), tmp_path / "best", hardware=CPU)
    assert best.best_step is not None and best.best_step < best.steps < best.total_steps and not best.interrupted
    after = [loss for step, loss in best.val_losses if step > best.best_step]
    assert len(after) == 4 and min(after) >= dict(best.val_losses)[best.best_step]
    kept = Checkpoints(tmp_path / "best" / "checkpoints")
    assert {best.best_step, best.steps} <= set(kept.steps()) and len(kept.steps()) <= 4
    assert weights(best) == (kept.at(best.best_step) / "adapter_model.safetensors").read_bytes() != weights(last)
    other = Checkpoints(tmp_path / "last" / "checkpoints")
    assert weights(last) == (other.at(24) / "adapter_model.safetensors").read_bytes()
    # from before the last eighth a longer run can go on
    assert other.steps() == sorted({last.best_step, 21, 22, 24})
    events: list[Event] = []
    early = replace(rash, early_stop=True)
    again = train(
        base, tokenizer, rows, others, early, tmp_path / "best", hardware=CPU, resume=True, listener=events.append
    )
    assert again.steps == best.steps and not any(isinstance(event, StepDone) for event in events)


def test_a_run_that_only_gets_worse_publishes_the_best_of_what_it_learnt(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    others = with_other_answers(tokenizer, base)
    taught = train(base, tokenizer, others, None, replace(PLAN, epochs=20.0), tmp_path / "taught", hardware=CPU)
    events: list[Event] = []
    plan = replace(PLAN, epochs=1.5, early_stop=True)
    result = train(
        base, tokenizer, rows, others, plan, tmp_path / "untaught",
        initial_adapter=taught.adapter, listener=events.append, hardware=CPU,
    )  # fmt: skip
    (_, before), *after = result.val_losses
    assert 5 * before < min(loss for _, loss in after)
    assert result.best_step == min(after, key=lambda at: at[1])[0]
    best = Checkpoints(tmp_path / "untaught" / "checkpoints").at(result.best_step)
    assert weights(result) == (best / "adapter_model.safetensors").read_bytes()
    assert [event.best for event in events if isinstance(event, Evaluated)][:2] == [False, True]


def test_without_validation_rows_it_trains_all_the_same(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    events: list[Event] = []
    plan = replace(PLAN, epochs=0.5, early_stop=True)
    result = train(base, tokenizer, rows, None, plan, tmp_path, listener=events.append, hardware=CPU)
    assert result.val_losses == [] and result.best_step is None and weights(result)
    assert Note("note.early_stop_without_validation") in events


def test_another_seed_is_another_run_and_the_same_seed_the_same(parts: Any, tmp_path: Path) -> None:
    short = replace(PLAN, epochs=0.5)
    runs = [train(*parts, plan, tmp_path / str(i), hardware=CPU) for i, plan in enumerate([short, short])]
    assert weights(runs[0]) == weights(runs[1])
    assert weights(train(*parts, replace(short, seed=1), tmp_path / "other", hardware=CPU)) != weights(runs[0])


def test_an_adapter_has_the_plans_rank_and_alpha(parts: Any, tmp_path: Path) -> None:
    for alpha, written in ((6.0, 6), (2.5, 2.5), (0.0, 8)):
        plan = replace(PLAN, epochs=0.25, lora_rank=4, lora_alpha=alpha)
        result = train(*parts, plan, tmp_path / str(alpha), hardware=CPU)
        config = json.loads((result.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        assert (config["r"], config["lora_alpha"]) == (4, written) and type(config["lora_alpha"]) is type(written)


def test_nothing_is_printed(parts: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(*parts, replace(PLAN, epochs=0.5), tmp_path, hardware=CPU)
    assert capfd.readouterr() == ("", "")


def test_a_loss_that_is_no_number_is_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = make_tiny(tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.0.mlp.down_proj.weight"].fill_(float("nan"))
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="not_finite") as told:
        train(*prepared(broken), PLAN, tmp_path / "run", hardware=CPU)
    # the plan's, which is to be lowered, not what the warm-up makes of it
    assert told.value.values == {"step": 1, "learning_rate": PLAN.learning_rate}


def limit_tokens(most: int) -> Any:
    """A device that runs out of memory when more than `most` tokens go through a model at once."""
    import torch

    def check(module: Any, inputs: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and inputs[0].numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    return torch.nn.modules.module.register_module_forward_pre_hook(check)


def test_memory_that_runs_out_halves_the_budget_and_changes_no_loss(parts: Any, tmp_path: Path) -> None:
    steady = replace(PLAN, lora_dropout=0.0, epochs=1.0)
    whole = train(*parts, steady, tmp_path / "whole", hardware=CPU)
    events: list[Event] = []
    base, tokenizer, rows, _ = parts
    handle = limit_tokens(100)
    try:
        split = train(base, tokenizer, rows, None, steady, tmp_path / "split", listener=events.append, hardware=CPU)
    finally:
        handle.remove()
    notes = [event for event in events if isinstance(event, Note)]
    assert notes and {note.key for note in notes} == {"note.token_budget_halved"}
    # smaller batches sum up in another order, and AdamW's first steps make much of small gradients
    assert [loss for _, loss in split.losses] == pytest.approx([loss for _, loss in whole.losses], rel=1e-4)


def test_the_most_memory_of_a_run_is_told_over_all_its_parts_and_not_of_what_came_before(
    parts: Any, tmp_path: Path
) -> None:
    import torch

    most = 400 << 20
    events: list[Event] = []
    plan = replace(PLAN, epochs=1.0)

    def take(module: Any, _: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and module.training:
            bytearray(most)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(take)
    try:
        stop = lambda: any(isinstance(event, StepDone) for event in events)  # noqa: E731
        first = train(*parts, plan, tmp_path / "greedy", listener=events.append, stop=stop, hardware=CPU)
    finally:
        handle.remove()
    assert first.interrupted and first.peak_memory is not None and first.peak_memory > most
    assert train(*parts, plan, tmp_path / "greedy", resume=True, hardware=CPU).peak_memory == first.peak_memory
    modest = train(*parts, plan, tmp_path / "modest", hardware=CPU)
    assert modest.peak_memory is not None and modest.peak_memory > 0
    if sys.platform == "linux":  # elsewhere the process' own peak is all that is known
        assert modest.peak_memory < first.peak_memory - most // 2


def test_memory_that_does_not_hold_one_sequence_is_told(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    events: list[Event] = []
    handle = limit_tokens(3)
    try:
        with pytest.raises(ResourceError, match="training_memory"):
            train(base, tokenizer, rows, None, PLAN, tmp_path, listener=events.append, hardware=CPU)
    finally:
        handle.remove()
    assert Note("note.activations_recomputed") in events


def test_little_memory_recomputes_activations_to_the_same_losses(parts: Any, tmp_path: Path) -> None:
    import torch

    short = replace(PLAN, lora_dropout=0.0, epochs=0.5)
    passes: Counter[str] = Counter()

    def count(module: Any, _: Any) -> None:
        if torch.is_grad_enabled():
            passes[type(module).__name__] += 1

    def begin(event: Event) -> None:
        if isinstance(event, TrainingStarted):
            passes.clear()

    def run(name: str, hardware: Hardware) -> tuple[TrainResult, float]:
        handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
        try:
            result = train(*parts, short, tmp_path / name, listener=begin, hardware=hardware)
        finally:
            handle.remove()
        return result, passes["Qwen2MLP"] / passes["Embedding"]

    # of each batch that is read, two layers are computed once or twice
    (usual, once), (little, twice) = run("usual", CPU), run("little", replace(CPU, memory_free=1 << 20))
    assert (once, twice) == (2, 4)
    # two steps; the recomputed values may be rounded otherwise
    assert [loss for _, loss in little.losses] == pytest.approx([loss for _, loss in usual.losses], rel=1e-5)


def test_bfloat16_keeps_the_adapter_in_float32(parts: Any, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    plan = replace(PLAN, lora_dropout=0.0)
    result = train(*parts, plan, tmp_path, hardware=replace(CPU, dtype="bfloat16"))
    tensors = load_file(result.adapter / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert result.dtype == "bfloat16" and result.losses[-1][1] < result.losses[0][1] - 1


def test_a_run_goes_on_in_the_way_it_began_whatever_memory_is_free_then(
    parts: Any, uninterrupted: tuple[TrainResult, list[Event]], tmp_path: Path
) -> None:
    less = replace(CPU, memory_free=1)
    ways = [fit_memory(parts[0], PLAN, hardware, *parts[2].most_tokens()) for hardware in (CPU, less)]
    assert ways[1].token_budget < ways[0].token_budget and ways[1].checkpointing > ways[0].checkpointing
    done: list[int] = []
    first = train(
        *parts,
        PLAN,
        tmp_path,
        hardware=CPU,
        listener=lambda event: done.append(event.step) if isinstance(event, StepDone) else None,
        stop=lambda: 5 in done,
    )
    assert first.interrupted and first.steps == 5
    went_on = train(*parts, PLAN, tmp_path, hardware=less, resume=True)
    assert weights(went_on) == weights(uninterrupted[0])
    history = Checkpoints(tmp_path / "checkpoints").history(10)
    assert {entry["how"]["token_budget"] for entry in history if "loss" in entry} == {ways[0].token_budget}

"""What can be known of graphics cards on a machine that has none."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_trainer.engine.fallback import is_out_of_memory
from lora_trainer.engine.hardware import Hardware, detect, unused_card
from lora_trainer.engine.memory import fit_memory
from lora_trainer.engine.prefix_tree import tree_batches
from lora_trainer.engine.tree_attention import tree_masks
from lora_trainer.engine.tree_trial import off_by, tolerance
from lora_trainer.errors import ResourceError, UsageError
from lora_trainer.events import Event, Note, StepDone, ignore
from lora_trainer.plan import TrainPlan
from lora_trainer.train import train, trainable_model
from tests.lora_trainer.test_train import CPU, limit_tokens
from tests.support.program import ROOT
from tests.support.tiny import make_tiny
from tests.support.train_tiny import prepared
from wizard.words import t

PLAN = TrainPlan(epochs=1.0, batch_size=4, learning_rate=5e-3)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepared(make_tiny(tmp_path_factory.mktemp("base")))


@pytest.mark.parametrize(
    ("dtype", "families"),
    [
        ("bfloat16", ["qwen2", "gemma3", "phi3"]),
        ("float16", ["qwen2"]),
    ],
)
def test_nothing_in_a_step_stays_behind_on_the_cpu(dtype: str, families: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.fake_gpu", str(tmp_path), dtype, *families]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert told.returncode == 0, told.stderr[-4000:]
    assert told.stdout.split() == families


@pytest.mark.parametrize("family", ["qwen2", "gemma3"])
def test_masks_are_laid_out_so_that_cuda_takes_them_without_a_copy(family: str, tmp_path: Path) -> None:
    base, _, rows, _ = prepared(make_tiny(tmp_path, family))
    model = trainable_model(base, PLAN, "cpu", "bfloat16")
    (tree,) = tree_batches([s for row in rows[:3] for s in row.sequences], 1 << 20)
    assert tree.tokens % 16
    on_cpu, elsewhere = tree_masks(model, tree), tree_masks(model, tree.to("meta"))
    both = (each.values() if isinstance(each, dict) else [each] for each in (on_cpu, elsewhere))
    for usual, mask in zip(*both, strict=True):
        assert mask.shape == usual.shape and mask.dtype == usual.dtype
        assert mask.stride(-1) == 1 and all(stride % 16 == 0 for stride in mask.stride()[:-1])


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> Hardware:
    """A CPU that computes as a card without bfloat16 does, which accelerate doesn't let it."""
    from transformers import Trainer

    create = Trainer.create_accelerator_and_postprocess

    def with_scaler(trainer: Any) -> None:
        create(trainer)
        if trainer.args.fp16:
            trainer.accelerator.native_amp = True
            trainer.accelerator.scaler = torch.amp.GradScaler("cpu")

    monkeypatch.setattr(Trainer, "create_accelerator_and_postprocess", with_scaler)
    return replace(CPU, dtype="float16")


def test_a_card_without_bfloat16_learns_the_same_and_goes_on_exactly(
    parts: Any, tmp_path: Path, float16: Hardware
) -> None:
    plan = replace(PLAN, epochs=1.5)
    full = train(*parts, plan, tmp_path / "full", hardware=CPU)
    whole = train(*parts, plan, tmp_path / "whole", hardware=float16)
    # float16 keeps three digits
    assert [loss for _, loss in whole.losses] == pytest.approx([loss for _, loss in full.losses], rel=1e-2)
    events: list[Event] = []
    first = train(
        *parts,
        plan,
        tmp_path / "parts",
        listener=events.append,
        stop=lambda: sum(isinstance(event, StepDone) for event in events) > 2,
        hardware=float16,
    )
    assert first.interrupted and not [event for event in events if isinstance(event, Note)]
    scale = torch.load(tmp_path / "parts" / "checkpoints" / "checkpoint-3" / "scaler.pt")["scale"]
    # none of the steps was left out for a scale that was too large
    assert scale == 1024
    train(*parts, plan, tmp_path / "parts", resume=True, hardware=float16)
    adapters = [tmp_path / name / "adapter" / "adapter_model.safetensors" for name in ("parts", "whole")]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()


def test_what_a_card_without_bfloat16_has_begun_goes_on_elsewhere(
    parts: Any, tmp_path: Path, float16: Hardware
) -> None:
    done: list[Event] = []
    stop = lambda: any(isinstance(event, StepDone) for event in done)  # noqa: E731
    train(*parts, PLAN, tmp_path, listener=done.append, stop=stop, hardware=float16)
    assert list(tmp_path.glob("checkpoints/*/scaler.pt"))
    assert not train(*parts, PLAN, tmp_path, resume=True, hardware=CPU).interrupted


def test_a_model_that_overflows_in_float16_is_told_with_a_way_out(
    parts: Any, tmp_path: Path, float16: Hardware
) -> None:
    def overflow(module: Any, _: Any, output: Any) -> Any:
        return output * 1e5 if type(module).__name__ == "Qwen2RMSNorm" else None

    handle = torch.nn.modules.module.register_module_forward_hook(overflow)
    try:
        with pytest.raises(UsageError) as refused:
            train(*parts, PLAN, tmp_path, hardware=float16)
    finally:
        handle.remove()
    assert "CUDA_VISIBLE_DEVICES" in t(refused.value.key, **refused.value.values)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("HIP out of memory. Tried to allocate 20.00 MiB."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB, other allocations: 1 GB)"), True),
        (RuntimeError("Invalid buffer size: 12.34 GiB"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error: RuntimeError, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


def test_memory_that_runs_out_in_an_evaluation_halves_the_budget_and_changes_no_loss(
    parts: Any, tmp_path: Path
) -> None:
    whole = train(*parts, PLAN, tmp_path / "whole", hardware=CPU)
    events: list[Event] = []
    handle = limit_tokens(100)
    try:
        split = train(*parts, PLAN, tmp_path / "split", listener=events.append, hardware=CPU)
    finally:
        handle.remove()
    # the first evaluation comes before the first step
    assert next(e for e in events if isinstance(e, Note)).key == "note.token_budget_halved"
    for ours, theirs in ((split.losses, whole.losses), (split.val_losses, whole.val_losses)):
        # smaller batches sum up in another order, and AdamW's first steps make much of small gradients
        assert [loss for _, loss in ours] == pytest.approx([loss for _, loss in theirs], rel=1e-4)


def test_a_sequence_that_is_too_long_to_evaluate_is_told(parts: Any, tmp_path: Path) -> None:
    handle = limit_tokens(10)
    try:
        with pytest.raises(ResourceError) as refused:
            train(*parts, PLAN, tmp_path, hardware=CPU)
    finally:
        handle.remove()
    assert refused.value.key == "error.resource.training_memory"


def test_a_model_that_does_not_fit_while_it_is_loaded_is_told(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(ResourceError) as refused:
        train(*parts, PLAN, tmp_path, hardware=CPU)
    assert refused.value.key == "error.resource.model_memory"
    assert refused.value.values["reason"] == "CUDA out of memory. Tried to allocate 2.00 GiB."


def test_several_processes_are_not_told_that_a_single_dialogue_was_too_much() -> None:
    from lora_trainer.engine.fallback import Fallback

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    fallback = Fallback(torch.nn.Linear(1, 1), 2048, device="cpu", max_length=1024, alone=False)
    with pytest.raises(ResourceError) as refused:
        fallback.attempt(full, 4, can_recompute=True, listener=ignore)
    assert refused.value.key == "error.resource.training_memory_together"
    assert refused.value.values == {"max_length": 1024, "reason": "CUDA out of memory. Tried to allocate 2.00 GiB."}


def test_a_training_that_has_ended_leaves_none_of_its_model_in_memory(parts: Any, tmp_path: Path) -> None:
    from peft import PeftModel

    from lora_trainer.engine.step_trainer import StepTrainer

    gc.collect()
    gc.disable()
    try:
        train(*parts, PLAN, tmp_path, hardware=CPU)
        assert not [one for one in gc.get_objects() if isinstance(one, StepTrainer | PeftModel)]
    finally:
        gc.enable()


def test_the_trial_of_trees_recomputes_activations_where_training_does(parts: Any) -> None:
    base, _, rows, _ = parts
    model = trainable_model(base, replace(PLAN, lora_dropout=0.5), "cpu", "float32")
    model.activation_checkpointing_enable({"use_reentrant": False})
    calls: list[Any] = []
    for name, module in model.named_modules():
        if name.endswith("layers.0.mlp"):
            module.register_forward_pre_hook(lambda *_: calls.append(1))
    two = sorted((s for row in rows for s in row.sequences), key=lambda s: s.prompt_ids + s.completion_ids)[:2]
    off = off_by(model, two, 0, "cpu")
    assert off is not None and off <= tolerance(model)
    # forward and again on the way back, padded and as a tree
    assert len(calls) == 4


def test_a_mac_keeps_attention_matrices_and_is_given_less_at_a_time(parts: Any) -> None:
    plan = TrainPlan(max_length=512, batch_size=64)
    free = 3 << 30
    mac, card = (Hardware(device, "float32", "test", free, free) for device in ("mps", "cuda"))  # type: ignore[arg-type]
    assert fit_memory(parts[0], plan, mac).token_budget < fit_memory(parts[0], plan, card).token_budget


@pytest.fixture
def old_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A GTX 1080 that its driver knows."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5, 8))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA GeForce GTX 1080")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    told = "NVIDIA GeForce GTX 1080, 535.183.01"
    name, text = ("nvidia-smi.bat", f"@echo {told}") if os.name == "nt" else ("nvidia-smi", f"#!/bin/sh\necho '{told}'")
    (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return monkeypatch


@pytest.mark.parametrize(
    ("built_for", "device"),
    [
        (["sm_50", "sm_60", "sm_70", "sm_90"], "cuda"),
        (["sm_52", "compute_52"], "cuda"),
        (["sm_75", "sm_90a", "sm_120", "compute_120"], "cpu"),
        (["sm_62"], "cpu"),
    ],
)
def test_a_card_is_used_where_pytorch_has_code_for_it(
    old_card: pytest.MonkeyPatch, built_for: list[str], device: str
) -> None:
    old_card.setattr(torch.cuda, "is_available", lambda: True)
    old_card.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    assert detect().device == device


@pytest.mark.parametrize(
    ("cuda", "available", "key"),
    [(None, False, "cpu_build"), ("13.0", False, "driver"), ("13.0", True, "too_old")],
)
def test_a_card_that_pytorch_does_not_use_is_told_with_the_way_out(
    old_card: pytest.MonkeyPatch, cuda: str | None, available: bool, key: str
) -> None:
    old_card.setattr(torch.cuda, "is_available", lambda: available)
    old_card.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75"])
    old_card.setattr(torch.version, "cuda", cuda)
    told = unused_card()
    assert told is not None and told.key == f"note.card.{key}"
    words = t(told.key, **told.values)
    assert "GTX 1080" in words and sys.executable in words and "cu126" in words


def test_nothing_is_said_of_a_card_that_is_used_or_hidden_on_purpose(old_card: pytest.MonkeyPatch) -> None:
    old_card.setattr(torch.cuda, "is_available", lambda: True)
    old_card.setattr(torch.cuda, "get_arch_list", lambda: ["sm_60"])
    assert unused_card() is None
    old_card.setattr(torch.cuda, "is_available", lambda: False)
    assert unused_card() is not None
    old_card.setenv("CUDA_VISIBLE_DEVICES", "")
    assert unused_card() is None

"""One optimizer step's loss and gradients, by each way that the engine computes them, against the plainest one.

The reference is transformers' model with PEFT's adapter on the CPU in float32, a sequence at a time, its loss taken of
the logits: nothing of the engine is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.gpu.checks.outcome import Failed, Outcome, Skipped, apart, gradient_limit, loss_limit
from bench.gpu.checks.setup import PLAN, Setup, stir
from bench.gpu.data import Rows
from bench.gpu.ours import at_each_step, float16_on_cpus, hardware_of, make_trainer
from lora_trainer.engine.hardware import Hardware
from lora_trainer.plan import TrainPlan

NO_LIMIT = 1e9
"""Of the gradients' norm: what is compared is what was computed."""


class Step(NamedTuple):
    """What one optimizer step computed."""

    loss: float
    gradients: dict[str, Any]
    """Parameter name -> float32 on the CPU."""
    notes: list[str]
    """Keys of what was noted on the way."""


@lru_cache(maxsize=1)
def reference(setup: Setup) -> Step:
    """The step of the checks' rows by transformers and PEFT alone."""
    from lora_trainer.models.adapter import adapted_model

    model = adapted_model(setup.base, PLAN, "cpu", "float32").train()
    stir(model)
    return plain_step(model, setup.rows())


def plain_step(model: Any, rows: Rows) -> Step:
    """Loss and gradients of all rows together."""
    import torch

    sequences = [sequence for row in rows for sequence in row.sequences]
    supervised = sum(len(sequence.completion_ids) for sequence in sequences)
    total = 0.0
    for sequence in sequences:
        ids = torch.tensor([sequence.prompt_ids + sequence.completion_ids])
        answer = slice(len(sequence.prompt_ids) - 1, -1)
        logits = model(input_ids=ids, use_cache=False).logits[0, answer]
        loss = torch.nn.functional.cross_entropy(logits, ids[0, answer.start + 1 :], reduction="sum") / supervised
        loss.backward()
        total += loss.item()
    return Step(total, gradients_of(model), [])


def gradients_of(model: Any, scale: float = 1.0) -> dict[str, Any]:
    """The gradients that stand at a model's parameters, over `scale`."""
    return {
        name: parameter.grad.float().cpu() / scale
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def step_of(
    setup: Setup,
    hardware: Hardware,
    *,
    tree: bool = True,
    recompute: bool = False,
    token_budget: int | None = None,
    rows: Rows | None = None,
    plan: TrainPlan = PLAN,
    prepare: Callable[[Any], None] = lambda _: None,
) -> Step:
    """The first step of a training of ours. `prepare` is given the trainer before it begins.

    `token_budget`: tokens of a micro-batch, else as many as the program takes. Raises Failed where the step wasn't
    computed in the way that was asked for.
    """
    rows = rows or setup.rows()
    notes: list[str] = []
    found: dict[str, Any] = {}
    with TemporaryDirectory(dir=setup.folder) as folder, float16_on_cpus():
        trainer = make_trainer(setup.base, rows, plan, Path(folder), hardware)
        trainer.listener = lambda event: notes.append(getattr(event, "key", ""))
        trainer.args.max_grad_norm = NO_LIMIT
        trainer.fallback.token_budget = token_budget or trainer.fallback.token_budget
        if not tree:
            trainer.trees = False
        if recompute:
            trainer.fallback.checkpoint_activations()
        stir(trainer.model)
        passes = _count_passes(trainer.model)
        trainer.add_callback(at_each_step(before_update=lambda: found.update(gradients_of(trainer.model))))
        prepare(trainer)
        trainer.train()
    if trainer.trees is not tree:
        raise Failed("shared beginnings were not computed once: the engine's own trial refused them")
    if trainer.fallback.checkpointing and passes[0] < 2 * passes[1]:
        raise Failed("activations were to be recomputed, and were not")
    return Step(trainer.state.log_history[0]["loss"], found, [note for note in notes if note.startswith("note.")])


def _count_passes(model: Any) -> list[int]:
    """How often the first layer has been begun, and the whole model been computed; counted from now on."""
    passes = [0, 0]

    def count(which: int) -> Any:
        def hook(*_: Any) -> None:
            passes[which] += 1

        return hook

    inner = model.get_base_model()
    inner.model.layers[0].mlp.register_forward_pre_hook(count(0))
    inner.register_forward_hook(count(1))
    return passes


def alike(step: Step, other: Step, dtype: str) -> Outcome:
    """Whether two steps are the same to the rounding of `dtype`."""
    return Outcome(
        {
            "loss": (abs(step.loss - other.loss) / abs(other.loss), loss_limit(dtype)),
            "gradients": (apart(step.gradients, other.gradients), gradient_limit(dtype)),
        }
    )


def check_step(setup: Setup, dtype: str, *, tree: bool, recompute: bool) -> Outcome:
    """A step in `dtype`, by one of the engine's ways, against the reference."""
    hardware = replace(hardware_of(setup.device), dtype=dtype)  # type: ignore[arg-type]
    unable = why_not(setup.device, dtype)
    if unable:
        raise Skipped(unable)
    return alike(step_of(setup, hardware, tree=tree, recompute=recompute), reference(setup), dtype)


def why_not(device: str, dtype: str) -> str | None:
    """Why a device doesn't compute in a type; None where it does."""
    import torch

    if device == "mps" and dtype != "float32":
        return "the program computes in float32 on Apple GPUs"
    if device == "cuda" and dtype == "bfloat16" and hardware_of(device).dtype != "bfloat16":
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        return f"compute capability {capability} has no bfloat16 of its own: the program takes float16"
    return None

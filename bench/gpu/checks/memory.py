"""A step that doesn't fit into memory: less is tried, and the step is the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.gpu.checks.outcome import Failed, Outcome
from bench.gpu.checks.setup import Setup
from bench.gpu.checks.step import Step, alike, step_of
from bench.gpu.data import Rows
from lora_trainer.engine.fallback import give_memory_back


def check_split(setup: Setup) -> Outcome:
    """A step of which only a part fits at once: it is computed in smaller micro-batches."""
    rows = setup.rows()
    longest, _ = rows.most_tokens()

    def too_many(input_ids: Any, _: Any) -> bool:
        return bool(input_ids.numel() > 2 * longest)

    return _fall_back(setup, rows, "note.token_budget_halved", too_many, token_budget=longest)


def check_recomputation(setup: Setup) -> Outcome:
    """A step of which not one sequence fits with its activations: they are computed a second time."""

    def all_kept(_: Any, trainer: Any) -> bool:
        return not trainer.fallback.checkpointing

    return _fall_back(setup, setup.long_row(), "note.activations_recomputed", all_kept, recompute=True)


def _fall_back(setup: Setup, rows: Rows, note: str, refuse: Callable[[Any, Any], bool], **small: Any) -> Outcome:
    """Three steps: with memory for everything, with little taken (`small`), and where only that little is there."""
    dtype = setup.hardware.dtype
    # padded: memory then goes by the tokens that are computed together
    options: dict[str, Any] = {"tree": False, "rows": rows, "token_budget": rows.counts()[0] * rows.most_tokens()[0]}
    whole, most = _measured(setup, lambda: step_of(setup, setup.hardware, **options))
    _, least = _measured(setup, lambda: step_of(setup, setup.hardware, **options | small))
    if setup.device == "cuda":
        if least > 0.8 * most:
            raise Failed(f"{least >> 20} of {most >> 20} MiB are needed in any case: nothing to be limited between")
        with _at_most((least + most) // 2):
            step = step_of(setup, setup.hardware, **options)
        words = f"{(least + most) >> 21} MiB where {most >> 20} were wanted"
    else:
        step = step_of(setup, setup.hardware, **options, prepare=_refusing(refuse))
        words = "driven by a model that says it ran out of memory"
    if set(step.notes) != {note}:
        raise Failed(f"expected the note {note}, got {step.notes or 'none'}")
    outcome = alike(step, whole, dtype)
    return Outcome(outcome.figures, words)


def _measured(setup: Setup, compute: Callable[[], Step]) -> tuple[Step, int]:
    """A step, and the most bytes that the device's allocator held meanwhile."""
    import torch

    give_memory_back(setup.device)
    if setup.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step = compute()
    return step, torch.cuda.max_memory_reserved() if setup.device == "cuda" else 0


@contextmanager
def _at_most(most: int) -> Iterator[None]:
    """Within, this process gets no more than `most` bytes of the card's memory."""
    import torch

    give_memory_back("cuda")
    torch.cuda.set_per_process_memory_fraction(most / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _refusing(refuse: Callable[[Any, Any], bool]) -> Callable[[Any], None]:
    """What lets a trainer's model run out of memory where `refuse` says so of token ids and the trainer."""
    import torch

    def prepare(trainer: Any) -> None:
        def check(_: Any, inputs: Any) -> None:
            if refuse(inputs[0], trainer):
                raise torch.OutOfMemoryError("out of memory, as the check wants it")

        trainer.model.get_base_model().model.embed_tokens.register_forward_pre_hook(check)

    return prepare

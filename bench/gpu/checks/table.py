"""All checks by name, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.gpu.checks.four_bits import check_qlora
from bench.gpu.checks.going_on import check_added_epochs, check_going_on, check_loss_scaling
from bench.gpu.checks.memory import check_recomputation, check_split
from bench.gpu.checks.outcome import Outcome
from bench.gpu.checks.setup import Setup
from bench.gpu.checks.several import check_several
from bench.gpu.checks.step import check_step

CHECKS: dict[str, Callable[[Setup], Outcome]] = {
    f"step, {dtype}, {'as a tree' if tree else 'padded'}{', recomputed' if recompute else ''}": partial(
        check_step, dtype=dtype, tree=tree, recompute=recompute
    )
    for dtype in ("float32", "bfloat16", "float16")
    for tree in (False, True)
    for recompute in (False, True)
} | {
    "memory runs out: smaller micro-batches": check_split,
    "memory runs out: activations recomputed": check_recomputation,
    "going on after a stop": check_going_on,
    "added epochs": check_added_epochs,
    "loss scaling in float16": check_loss_scaling,
    "--qlora": check_qlora,
    "several processes, DDP": partial(check_several, kind="DDP"),
    "several processes, FSDP": partial(check_several, kind="FSDP"),
}

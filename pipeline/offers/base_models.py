"""The base models that are recommended, as rows, and what each of them costs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_trainer.engine.memory import least_memory
from lora_trainer.models.shape import ModelShape
from lora_trainer.plan import TrainPlan
from pipeline.offers.data_size import DataSize
from pipeline.offers.downloaded import is_downloaded
from pipeline.offers.duration import Duration, training_duration
from pipeline.offers.machine import Machine
from pipeline.run.history import History, Run


@dataclass(frozen=True)
class RecommendedBase:
    """A base model worth offering; `source` as for --base_model."""

    source: str
    key: str
    """What is said of it: the text `base.<key>`."""
    shape: ModelShape
    download_bytes: int
    """Weights, tokenizer and configuration."""

    @property
    def title(self) -> str:
        """What people call it."""
        return self.source.rpartition("/")[2].removesuffix("-2507").removesuffix("-Instruct")


def _qwen(
    source: str, key: str, sizes: tuple[int, int, int, int, int, int], parameters: int, *, tied: bool = True
) -> RecommendedBase:
    hidden, layers, heads, kv_heads, head_dim, mlp = sizes
    vocabulary = 151936 if tied else 152064
    shape = ModelShape(hidden, layers, heads, kv_heads, head_dim, mlp, vocabulary, tied, parameters)
    return RecommendedBase(source, key, shape, 2 * parameters + _BESIDE_WEIGHTS)


_BESIDE_WEIGHTS = 12_000_000
"""Bytes of tokenizer.json, vocab.json, merges.txt and the configuration."""

RECOMMENDED: tuple[RecommendedBase, ...] = (
    _qwen("Qwen/Qwen2.5-0.5B-Instruct", "recommended", (896, 24, 14, 2, 64, 4864), 494_032_768),
    _qwen("Qwen/Qwen3-0.6B", "", (1024, 28, 16, 8, 128, 3072), 751_632_384),
    _qwen("Qwen/Qwen2.5-1.5B-Instruct", "better", (1536, 28, 12, 2, 128, 8960), 1_543_714_304),
    _qwen("Qwen/Qwen3-1.7B", "", (2048, 28, 16, 8, 128, 6144), 2_031_739_904),
    _qwen("Qwen/Qwen2.5-3B-Instruct", "better", (2048, 36, 16, 2, 128, 11008), 3_085_938_688),
    _qwen("Qwen/Qwen3-4B-Instruct-2507", "better", (2560, 36, 32, 8, 128, 9728), 4_022_468_096),
    _qwen("Qwen/Qwen2.5-7B-Instruct", "best", (3584, 28, 28, 4, 128, 18944), 7_615_616_512, tied=False),
)
"""The first one is the default. Sizes: hidden, layers, heads, key heads, head, feed-forward, of each model's
config.json on https://huggingface.co/Qwen; weights as in its files, which are bfloat16 (those of Qwen3-0.6B and -1.7B
hold the tied output layer as well)."""


@dataclass(frozen=True)
class Offer:
    """One row of the chooser."""

    source: str
    title: str
    key: str
    downloaded: bool
    download_bytes: int
    """What is still to be downloaded: 0 where it is here."""
    memory_needed: int
    """Bytes of the device's memory, as the check before the training asks for."""
    fits: bool
    """Into what is free now."""
    fits_when_freed: bool
    """Into all the memory that the device has."""
    duration: Duration | None
    """None while neither an earlier run nor a measurement tells."""


def base_offers(
    data: DataSize, plan: TrainPlan, machine: Machine, history: History, *, runs: Sequence[Run] | None = None
) -> list[Offer]:
    """What the recommended models cost for these data and this plan, in the table's order.

    `runs`: what `trained_runs` has found, for whoever asks more than once.
    """
    known = trained_runs(history) if runs is None else runs
    return [_offer(row, data, plan, machine, known) for row in RECOMMENDED]


def _offer(row: RecommendedBase, data: DataSize, plan: TrainPlan, machine: Machine, runs: Sequence[Run]) -> Offer:
    # 4 bits are for all but the output layer
    needed = least_memory(row.shape, plan, machine.hardware, four_bits_of(row.shape) if plan.qlora else 0)
    here = is_downloaded(row.source)
    return Offer(
        source=row.source,
        title=row.title,
        key=row.key,
        downloaded=here,
        download_bytes=0 if here else row.download_bytes,
        memory_needed=needed,
        fits=needed <= machine.hardware.memory_free,
        fits_when_freed=needed <= machine.hardware.memory_total,
        duration=training_duration(row.shape, data, plan, machine, runs),
    )


def four_bits_of(shape: ModelShape) -> int:
    """The weights that `--qlora` holds in 4 bits: the layers' matrices."""
    return shape.layers * shape.layer_weights


def trained_runs(history: History) -> list[Run]:
    """All runs that were trained to their end, newest first."""
    runs = [run for name in history.names() for run in history.readable(name) if run.has_done("train")]
    return sorted(runs, key=lambda run: str(run.record.get("created", "")), reverse=True)


def recommended(source: str) -> RecommendedBase | None:
    """The row of a base model, named by its id or by its title, in whatever case; None of others."""
    wanted = source.casefold()
    return next(
        (
            row
            for row in RECOMMENDED
            if wanted in (row.source.casefold(), row.source.rpartition("/")[2].casefold(), row.title.casefold())
        ),
        None,
    )

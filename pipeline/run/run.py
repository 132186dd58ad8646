"""Run: one training of one model, as its record tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.run.record import write_json

if TYPE_CHECKING:
    from lora_trainer.plan import TrainPlan


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Run:
    """One run of one model: its folder and its record."""

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Counted from 1 for each model name."""
        return int(self.record["number"])

    @property
    def plan(self) -> TrainPlan:
        """The numbers that were trained with."""
        from lora_trainer.plan import TrainPlan

        return TrainPlan.from_json(self.record["plan"])

    @property
    def is_done(self) -> bool:
        """Did the run reach its end?"""
        return self.record["status"] == "done"

    @property
    def is_waiting(self) -> bool:
        """Is it trained, exported and proven, and nobody has decided yet whether its model replaces what stands?"""
        return self.record["status"] == "waiting"

    @property
    def is_declined(self) -> bool:
        """Did somebody decide to keep what stood before it?"""
        return self.record["status"] == "declined"

    @property
    def is_over(self) -> bool:
        """Is nothing left to be done or decided?"""
        return self.is_done or self.is_declined

    @property
    def point(self) -> dict[str, Any] | None:
        """The point along the way (`step`, `epochs`) that is exported in place of the end; None: the end."""
        return self.record.get("point")

    @property
    def taught_point(self) -> dict[str, Any] | None:
        """The point that was put into Ollama last; of a run that never was, the one that would be. None: the end."""
        published = self.record.get("publications", [])
        return published[-1].get("point") if published else self.point

    @property
    def taught(self) -> TrainPlan:
        """`plan`, as long as what stands of the run has learned: of a point, its epochs."""
        point = self.taught_point
        return self.plan if point is None else replace(self.plan, epochs=float(point["epochs"]))

    def adapter(self, point: Mapping[str, Any] | None) -> Path:
        """The adapter of a point, a folder in PEFT's format; None for that of the end."""
        training = self.record.get("training", {})
        if point is None:
            return self.folder / str(training.get("adapter", "adapter"))
        kept = (one for one in training.get("points", ()) if one["step"] == point["step"])
        return self.folder / next((str(one["adapter"]) for one in kept), f"points/{point['step']}")

    def adapter_name(self, point: Mapping[str, Any] | None) -> str:
        """As `adapter`, below the run's folder."""
        return self.adapter(point).relative_to(self.folder).as_posix()

    @property
    def thinks(self) -> bool:
        """Whether it was taught what is thought before an answer."""
        return bool((self.record.get("chat_format") or {}).get("thought_after"))

    @property
    def publications(self) -> list[dict[str, Any]]:
        """Every time that the run's model was put into Ollama, oldest first: `digest`, `gguf`, `backup`, `order`, …"""
        return list(self.record["publications"])

    @property
    def is_published(self) -> bool:
        """Did the run's model reach Ollama?"""
        return bool(self.record["publications"])

    @property
    def digests(self) -> set[str]:
        """The manifests' digests (hex) under which the run's model stood or stands in Ollama."""
        swapped = self.record.get("publishing", {}).get("swapped")
        # killed between the swap and the last line of the record
        own = {swapped["digest"]} if swapped else set()
        return own | {publication["digest"] for publication in self.record["publications"]}

    @property
    def weights(self) -> set[str]:
        """sha256 (hex) of the weights that it has or had there."""
        own = self.record.get("gguf", {}).get("digest")
        found = {publication.get("gguf") for publication in self.record["publications"]} | {own}
        return {digest for digest in found if digest}

    @property
    def marks(self) -> set[str]:
        """What the GGUFs are known by that were made of it: one for each adapter, its end's and its points'."""
        made = self.record.get("gguf", {})
        found = {one.get("mark") for one in (made, *made.get("others", {}).values())}
        return {mark for mark in found if mark}

    @property
    def identity(self) -> dict[str, Any]:
        """The flags that trained it, of what its record has of the request."""
        from pipeline.request import training_flags

        return training_flags(self.record["request"])

    def update(self, **values: Any) -> None:
        """Set fields of the record and write it."""
        self.record.update(values)
        write_json(self.folder / "run.json", self.record)

    def has_done(self, stage: str) -> bool:
        """Does the journal say that a stage is done?"""
        return stage in self.record["stages"]

    def mark_done(self, stage: str, seconds: float, **facts: Any) -> None:
        """Enter a stage into the journal, with what it brought, in one write."""
        stages = {**self.record["stages"], stage: {"finished": now(), "seconds": round(seconds, 2)}}
        self.update(stages=stages, **facts)


def left_over(newest_first: Iterable[Run]) -> Run | None:
    """Of a name's runs the one that is to be offered when the name comes up: the newest, those left out that were
    declined, where it isn't over; None where nothing is left to be done or decided.
    """
    run = next((run for run in newest_first if not run.is_declined), None)
    return None if run is None or run.is_over else run

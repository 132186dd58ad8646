"""What a graphics card does with this program: it checks, measures, prints one table and writes one JSON file.

    python -m bench.gpu [--short] [--only checks|0.5b|1.5b|3b|7b ...] [--profile] [--out FILE]
    python -m bench.gpu --device cpu --tiny     all of it in small, on a CPU

It needs PyTorch, transformers, peft, accelerate and safetensors, no network and no model: docs/gpu.md says more.
Exit code 0 where all checks passed, 1 where one failed, 2 where there is nothing to measure on.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from bench.gpu import report
from bench.gpu.card import NEEDED, shortcomings, versions
from bench.gpu.checks.table import CHECKS
from bench.gpu.parts import Part
from bench.gpu.report import Record, say
from bench.gpu.shapes import SHAPES

BIG = [name for name in SHAPES if name != "tiny"]
WHOLE = {"shapes": BIG, "batches": (4, 16), "check": 300, "measure": 300, "counted": 20, "all": None}
SHORT = {"shapes": ["0.5b", "7b"], "batches": (16,), "check": 60, "measure": 60, "counted": 5, "all": 345}
TINY = {"shapes": ["tiny"], "batches": (4,), "check": 300, "measure": 300, "counted": 1, "all": None}
"""Seconds: the longest wait for a check's result, for a measurement, how long steps are counted, and for everything.

Six minutes are `--short`'s promise; what is left of them is for the report.
"""
OVER = "the time is over"
MARGIN = 20
"""Seconds below which nothing new is begun."""


def make_parser() -> argparse.ArgumentParser:
    """The command line's."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "mps", "cpu"), help="default: the graphics card that is found")
    parser.add_argument("--short", action="store_true", help="within 6 minutes: 0.5b and 7b, 16 dialogues a step")
    parser.add_argument("--only", nargs="+", choices=("checks", *BIG), metavar="PART", help=", ".join(["checks", *BIG]))
    parser.add_argument("--rounds", type=int, default=1, help="measure so many times in turn; the median counts")
    parser.add_argument("--profile", action="store_true", help="also where the time of one step goes")
    parser.add_argument("--out", type=Path, help="the JSON file; default: gpu-NAME.json in this folder")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape in place of the real ones, to try the bench")
    return parser


class Bench:
    """One run of the bench."""

    def __init__(self, options: argparse.Namespace, record: Record) -> None:
        self.options, self.record = options, record
        self.limits: dict[str, Any] = TINY if options.tiny else SHORT if options.short else WHOLE
        only = set(options.only or ("checks", *self.limits["shapes"]))
        self.does_checks = "checks" in only
        self.shapes = [name for name in (SHAPES if options.only else self.limits["shapes"]) if name in only]
        self.ends = time.monotonic() + (self.limits["all"] or float("inf"))
        self.device: str | None = options.device

    def part(self, kind: str, wait: float, **asked: Any) -> Part:
        """A part that waits so long for each of its results, and no longer than there is time for everything."""
        cards = None
        if self.device == "cpu":
            cards = ""
        elif kind in ("measure", "profile"):
            # with several, a plain Trainer would split its batches among them
            cards = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        return Part(kind, asked, seconds=wait, ends=self.ends, cards=cards)

    def is_late(self, what: str) -> bool:
        """Whether there is no time left to begin something; it is told then."""
        late = time.monotonic() > self.ends - MARGIN
        if late:
            self.leave_out(what, OVER)
        return late

    def is_over(self) -> bool:
        """Whether what is under way was ended for the time that everything may take."""
        return time.monotonic() > self.ends

    def leave_out(self, what: str, why: str) -> None:
        """Say what isn't done."""
        say(f"left out: {what}: {why}")
        self.record.add("left_out", {"what": what, "why": why})

    def look(self) -> str | None:
        """Find the card, and begin the record; returns why there is nothing to measure on."""
        batch = min(self.limits["batches"])
        part = self.part("look", 180, device=self.device, shapes=self.shapes, batch=batch)
        found = next(iter(list(part)), {})
        if part.failure or "no_card" in found:
            return found.get("no_card") or f"PyTorch doesn't start: {part.failure}\n{part.told}"
        card = found["card"]
        self.device, self.contenders, self.needs = card["device"], found["contenders"], found["needs_gb"]
        slug = re.sub("[^a-z0-9]+", "-", card["name"].lower()).strip("-")
        self.record.path = self.options.out or Path(f"gpu-{slug}.json")
        self.record.set(card=card)
        say(f"{card['name']}: " + ", ".join(f"{k} {v}" for k, v in card.items() if k != "name"))
        return None

    def check(self) -> None:
        """All checks; where a process breaks off, the next ones are done in another."""
        rest = list(CHECKS)
        while rest and not self.is_late(f"{len(rest)} checks"):
            options = {"device": self.device, "tiny": self.options.tiny, "devices": self.record.data["card"]["devices"]}
            part = self.part("check", self.limits["check"], names=rest, **options)
            for told in part:
                rest.remove(told["check"])
                self._checked(told)
            if rest and not self.is_over():
                words = part.failure or "no result"
                self._checked({"check": rest.pop(0), "state": "failed", "words": words, "output": part.told})

    def _checked(self, told: dict[str, Any]) -> None:
        self.record.add("checks", told)
        say(report.check_line(told))

    def measure(self, shape: str, batch: int) -> None:
        """All contenders in turn, each in a process of its own."""
        for number in range(self.options.rounds):
            for contender in self.contenders:
                place = {"shape": shape, "batch": batch, "contender": contender}
                words = ", ".join(map(str, place.values()))
                if self.is_late(words):
                    return
                part = self.part(
                    "measure", self.limits["measure"], **place,
                    device=self.device, began=time.time(), seconds=self.limits["counted"],
                )  # fmt: skip
                told = next((result["measure"] for result in list(part)), None)
                if told is None and self.is_over():
                    self.leave_out(words, OVER)
                    return
                entry = told or {**place, "failed": part.failure or "no result", "output": part.told}
                self.record.add("measures", {**entry, "round": number + 1})
                say(report.measure_line(entry))

    def profile(self, shape: str, batch: int) -> None:
        """One step of ours."""
        if self.is_late(f"profile of {shape}"):
            return
        part = self.part("profile", self.limits["measure"], shape=shape, batch=batch, device=self.device)
        found = next((result["profile"] for result in list(part)), None)
        if found is None:
            self.leave_out(f"profile of {shape}", part.failure or "no result")
        else:
            self.record.add("profiles", found)
            say(report.profile_line(found))

    def run(self) -> None:
        """Everything, in order."""
        if self.does_checks:
            self.check()
        free = self.record.data["card"]["free_gb"]
        fitting = []
        for shape in self.shapes:
            if self.needs[shape] > free:
                self.leave_out(shape, f"needs about {self.needs[shape]:.0f} GB, {free:.0f} GB are free")
            else:
                fitting.append(shape)
        if fitting:
            say("\n" + report.HEAD)
        for shape in fitting:
            for batch in self.limits["batches"]:
                self.measure(shape, batch)
                self.record.set(ratios=report.ratios(self.record.data["measures"]))
            if self.options.profile:
                self.profile(shape, max(self.limits["batches"]))

    def summary(self) -> int:
        """The whole table, what failed and where it is written; the exit code."""
        say("")
        for ratio in self.record.data["ratios"]:
            say(report.ratio_line(ratio))
        failures = self.record.failures
        say(f"failed: {'; '.join(failures)}" if failures else "nothing failed")
        say(f"written: {self.record.path}")
        return 1 if failures else 0


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.tiny and set(options.only or ()) - {"checks"}:
        parser.error("--tiny has one shape of its own")
    found = versions()
    missing, older = shortcomings(found)
    say("  ".join(f"{name} {found[name]}" for name in found if found[name]))
    if missing:
        say(f"Missing: {', '.join(missing)}. In a checkout: {sys.executable} -m pip install {' '.join(NEEDED)}")
        return 2
    for line in older:
        say(f"note: {line}")
    record = Record(sys.argv[1:] if arguments is None else arguments, found)
    record.data["older"] = older
    bench = Bench(options, record)
    why = bench.look()
    if why is not None:
        say(why)
        return 2
    try:
        bench.run()
        record.set(finished=True)
    except KeyboardInterrupt:
        say(f"interrupted; what is known so far: {record.path}")
        return 130
    return bench.summary()


if __name__ == "__main__":
    sys.exit(main())

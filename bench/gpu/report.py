"""What is known so far, on the screen line by line and in one JSON file that is whole at any moment."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.gpu.contenders import OURS
from bench.gpu.parts import ROOT

SCHEMA = 1
SAME_LOSS = 0.01
"""How far first losses may be apart, relatively: rounding to bfloat16 is below that, another model or data isn't."""
MARKS = {"passed": "pass", "failed": "FAIL", "skipped": "skip"}


def say(line: str) -> None:
    """Print a line, now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Record:
    """One run's JSON file; without a path nothing is written yet."""

    def __init__(self, command: list[str], versions: dict[str, str | None]) -> None:
        self.path: Path | None = None
        self._began = time.monotonic()
        self.data: dict[str, Any] = {
            "bench": "gpu",
            "schema": SCHEMA,
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "commit": _commit(),
            "versions": versions,
            "older": [],
            "card": {},
            "checks": [],
            "measures": [],
            "left_out": [],
            "ratios": [],
            "profiles": [],
            "finished": False,
        }

    def add(self, section: str, entry: Any) -> None:
        """Put an entry behind the others of its section, and write all."""
        self.data[section].append(entry)
        self.write()

    def set(self, **values: Any) -> None:
        """Set some sections, and write all."""
        self.data.update(values)
        self.write()

    def write(self) -> None:
        """Write all, or leave the file as it was."""
        self.data["seconds"] = round(time.monotonic() - self._began, 1)
        if self.path is not None:
            written = self.path.with_name(self.path.name + ".new")
            written.write_text(json.dumps(self.data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            written.replace(self.path)

    @property
    def failures(self) -> list[str]:
        """What failed: checks, and measurements of ours. That another trainer fails is no fault of ours."""
        checks = [check["check"] for check in self.data["checks"] if check["state"] == "failed"]
        ours = [one for one in self.data["measures"] if "failed" in one and one["contender"] in OURS]
        return checks + [f"{one['shape']}, {one['batch']} dialogues, {one['contender']}" for one in ours]


def _commit() -> str | None:
    """The checkout's commit, with "+" where files were changed since; None where it isn't one of git's."""
    try:
        told = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return told[0] + ("+" if told[1] else "")


def check_line(check: dict[str, Any]) -> str:
    """A check's line: how it ended, its figures with their limits, and what else there is to say."""
    figures = [
        f"{name} {_short(one['figure'])} (at most {_short(one['limit'])})"
        for name, one in check.get("figures", {}).items()
    ]
    told = ", ".join([*figures, *filter(None, [check.get("words")])])
    return f"{MARKS[check['state']]}  {check['check']:<42} {told}"


def _short(figure: float | str) -> str:
    return figure if isinstance(figure, str) else f"{figure:.1e}" if figure else "0"


HEAD = "shape  batch  contender       dialogues/s  tokens/s  peak GB  first step s"


def measure_line(one: dict[str, Any]) -> str:
    """A measurement's line of the table."""
    begin = f"{one['shape']:<6}{one['batch']:>6}  {one['contender']:<15}"
    if "failed" in one:
        return f"{begin}  failed: {one['failed']}"
    speed = f"{one['dialogues_per_second']:>12.2f}{one['tokens_per_second']:>10.0f}"
    return f"{begin}{speed}{one['peak_gb']:>9.1f}{one['seconds_to_first_step']:>14.1f}"


def ratios(measures: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each shape and batch: how many times as fast each contender was as the fastest of the others' trainers.

    The median counts where there were several rounds; nothing is said where no other trainer was measured. Who began
    with another loss than the first one computed something else, and is named.
    """
    groups: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for one in measures:
        if "failed" not in one:
            groups.setdefault((one["shape"], one["batch"]), {}).setdefault(one["contender"], []).append(one)
    found = []
    for (shape, batch), rounds in groups.items():
        speed = {name: statistics.median(one["dialogues_per_second"] for one in own) for name, own in rounds.items()}
        others = [name for name in speed if name not in OURS]
        if others:
            best = max(others, key=lambda name: speed[name])
            against = {name: round(its / speed[best], 3) for name, its in speed.items()}
            losses = {name: own[0]["first_loss"] for name, own in rounds.items()}
            first = next(iter(losses.values()))
            odd = [name for name, loss in losses.items() if not abs(loss - first) <= SAME_LOSS * first]
            place = {"shape": shape, "batch": batch}
            found.append({**place, "fastest_other": best, "times_as_fast": against, "other_loss": odd})
    return found


def ratio_line(ratio: dict[str, Any]) -> str:
    """A group's ratios in words."""
    ours = ", ".join(f"{name} {times:.2f}" for name, times in ratio["times_as_fast"].items() if name in OURS)
    place = f"{ratio['shape']}, {ratio['batch']} dialogues a step"
    odd = f"; another loss: {', '.join(ratio['other_loss'])}" if ratio["other_loss"] else ""
    return f"{place}: times as fast as {ratio['fastest_other']}, the fastest other: {ours or 'none of ours'}{odd}"


def profile_line(found: dict[str, Any]) -> str:
    """A profiled step's line."""
    told = ", ".join(f"{kind} {share:.0%}" for kind, share in found["shares"].items())
    step = f"{found['step_seconds'] * 1000:.0f} ms, {found['kernels']} kernels"
    return f"profile of {found['shape']}, {found['batch']} dialogues: {step}: {told}"

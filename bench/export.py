"""Time and memory of the export, against `cp` and `sha256sum` of its result, and against llama.cpp's own tool.

    python -m bench.export [--types f16 q8_0 q4_K_M q6_K] [--rounds 3] [--folder DIR] [--llama_quantize PATH]

The base model has the shape of Qwen2.5-0.5B (random_model.py), the adapter rank 8. Each round does in turn, for each
file type: the export; `cp` and `sha256sum` of what it made; and, with `--llama_quantize` (how to build it:
llama_quantize.py), that tool with two threads from a file in f16, with `cp` and `sha256sum` of what that made. Seconds
are medians of the rounds and include the start of each program (measured_export.py); a ratio is the median of the
rounds' ratios, and so is that of the seconds that processors were at work, which other programs on the machine hardly
change. Memory is less the largest tensor as the base model keeps it. Prints one JSON line for each measurement
as it is done, one for each file type in the end, and these as a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measured_export import copy_and_hash, export, processor_seconds, watched
from bench.random_model import VOCABULARY, WIDTH, make_adapter, make_base

MB = 1e6
LARGEST = VOCABULARY * WIDTH * 2
THREADS = "2"
COLUMNS = {
    "file_type": "type", "result_MB": "MB", "seconds": "seconds", "cp_and_sha256sum_seconds": "`cp` + `sha256sum`",
    "ratio": "ratio", "processor_ratio": "of processor seconds", "llama_quantize_seconds": "`llama-quantize`",
    "its_cp_and_sha256sum_seconds": "`cp` + `sha256sum` of that", "ratio_to_llama_quantize": "ratio",
    "processor_ratio_to_llama_quantize": "of processor seconds",
    "peak_MB": "peak MB", "peak_less_largest_tensor_MB": "less the largest tensor",
}  # fmt: skip
"""Key of a line -> what stands above its column."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="+", default=["f16", "q8_0", "q4_K_M", "q6_K"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (5 GB); default: the system's folder for such files")
    parser.add_argument("--llama_quantize", type=Path, help="llama.cpp's own tool, to be measured beside")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make_base(folder / "base")
        make_adapter(folder / "adapter")
        if options.llama_quantize:
            _export(folder, "source", "f16")
        rounds: dict[str, list[dict[str, float]]] = {file_type: [] for file_type in options.types}
        for number in range(options.rounds):
            for file_type in options.types:
                rounds[file_type].append(_measured(folder, file_type, options.llama_quantize))
                _tell(json.dumps({"round": number + 1, "file_type": file_type, **rounds[file_type][-1]}))
    lines = [{"file_type": file_type, **_summary(measured)} for file_type, measured in rounds.items()]
    for line in lines:
        _tell(json.dumps(line))
    _tell(markdown(lines))


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as a table; a dash where nothing was measured."""
    cells = [list(COLUMNS.values()), ["---", *["---:"] * (len(COLUMNS) - 1)]]
    cells += [[str(line.get(key, "-")) for key in COLUMNS] for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _export(folder: Path, name: str, file_type: str) -> tuple[float, int]:
    told: dict[str, Any] = {"chat_template": "x", "add_bos": False, "eos_token": "<|im_end|>", "file_type": file_type}
    return export(folder / "base", "folder", folder / "adapter", folder / f"{name}.gguf", **told)


def _measured(folder: Path, file_type: str, llama_quantize: Path | None) -> dict[str, float]:
    """One round: bytes and seconds."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    begun = processor_seconds()
    seconds, peak = _export(folder, "ours", file_type)
    made = folder / "ours.gguf"
    found = {"size": made.stat().st_size, "peak": peak, "seconds": seconds, "load": round(load, 1)}
    found["cpu"] = processor_seconds() - begun
    begun = processor_seconds()
    found["copy"] = copy_and_hash(made)
    found["copy_cpu"] = processor_seconds() - begun
    made.unlink()
    if llama_quantize and file_type != "f16":
        made = folder / "theirs.gguf"
        command = [str(llama_quantize), str(folder / "source.gguf"), str(made), file_type.upper(), THREADS]
        begun = processor_seconds()
        found["tool"], _ = watched(command)
        found["tool_copy"] = copy_and_hash(made)
        found["tool_cpu"] = processor_seconds() - begun
        made.unlink()
    return found


def _ratio(rounds: Sequence[dict[str, float]], ours: str, theirs: str) -> float | None:
    """The median of the rounds' ratios; None where nobody counts."""
    if not all(one[theirs] for one in rounds):
        return None
    return round(statistics.median(one[ours] / one[theirs] for one in rounds), 2)


def _summary(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    median = lambda name: round(statistics.median(one[name] for one in rounds), 2)  # noqa: E731
    ratios = [one["seconds"] / one["copy"] for one in rounds]
    peak = max(one["peak"] for one in rounds)
    line = {
        "result_MB": round(rounds[0]["size"] / MB), "seconds": median("seconds"),
        "cp_and_sha256sum_seconds": median("copy"), "ratio": round(statistics.median(ratios), 2),
        "processor_ratio": _ratio(rounds, "cpu", "copy_cpu"),
        "peak_MB": round(peak / MB), "largest_tensor_MB": round(LARGEST / MB),
        "peak_less_largest_tensor_MB": round((peak - LARGEST) / MB),
    }  # fmt: skip
    if "tool" in rounds[0]:
        ratios = [one["seconds"] / (one["tool"] + one["tool_copy"]) for one in rounds]
        line |= {
            "llama_quantize_seconds": median("tool"), "its_cp_and_sha256sum_seconds": median("tool_copy"),
            "ratio_to_llama_quantize": round(statistics.median(ratios), 2),
            "processor_ratio_to_llama_quantize": _ratio(rounds, "cpu", "tool_cpu"),
        }  # fmt: skip
    return {**line, "rounds": rounds}


if __name__ == "__main__":
    main()

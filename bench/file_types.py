"""What each type of `--quantize` costs: a table of mean KL to f32 on real weights, seconds and peak memory.

    python -m bench.file_types [--base FILE.gguf] [--adapter DIR] [--types TYPE ...] [--questions FILE] [--positions 4]

The base model (SmolLM2-135M-Instruct where none is named) is taken three times: as a folder in float32, as a GGUF in
f32, and as the GGUF that it came as, whose weights without a delta stay as they are. Each is exported with the adapter
(random where none is named) in each type, loaded by llama.cpp, and asked for the next token's probabilities after each
question and after the first tokens that the folder in f32 answers (`--positions` in all for each question). KL is
KL(f32 || type) in nats, over the whole vocabulary; seconds and memory are those of one export (measured_export.py).
Prints one JSON line for each row, then the table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.measured_export import export
from bench.real_base import dequantised, random_adapter
from file_formats.file_types import FILE_TYPES

MB = 1e6
EXACT = "f32"
COLUMNS = {
    "type": "type", "base": "base", "MB": "MB", "mean_kl": "mean KL", "largest_kl": "largest KL",
    "same_first_choice": "same first choice", "seconds": "seconds", "peak_MB": "peak MB",
}  # fmt: skip
"""Key of a row -> what stands above its column."""


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--types", nargs="+", default=[name for name, row in FILE_TYPES.items() if row.offered])
    parser.add_argument("--questions", type=Path, default=Path("data/demo/questions.txt"))
    parser.add_argument("--positions", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where to work (three times the model in f32)")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for row in measured(options, Path(folder)):
            rows.append(row)
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    sys.stdout.write("\n" + markdown(rows))
    return 0


def measured(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for each base and type."""
    from ollama_export.gguf.export import export_gguf
    from ollama_export.template import gguf_chat_template
    from pipeline.conversation import embedded_base_model

    given = options.base or embedded_base_model()
    base, _, chat_format = dequantised(given, folder / "base")
    adapter = options.adapter or random_adapter(base, folder / "adapter")
    questions = options.questions.read_text(encoding="utf-8").splitlines()
    prompts = [chat_format.render([{"role": "user", "content": question}]) for question in questions]
    told: dict[str, Any] = {
        "chat_template": gguf_chat_template(chat_format), "add_bos": chat_format.tokenizer_adds_bos,
        "eos_token": chat_format.end_of_turn,
    }  # fmt: skip
    in_floats = export_gguf(base.path, "folder", None, folder / "base.gguf", file_type=EXACT, **told).path
    bases = {"folder": (base.path, "folder"), "GGUF in f32": (in_floats, "gguf"), "GGUF as it came": (given, "gguf")}
    made = folder / "made.gguf"
    export(base.path, "folder", adapter, made, file_type=EXACT, **told)
    asked, expected = reference(made, prompts, options.positions)
    for file_type in options.types:
        for name, (path, kind) in bases.items():
            seconds, peak = export(path, kind, adapter, made, file_type=file_type, **told)
            found = distributions(made, asked)
            apart = [float((np.exp(e) * (e - f)).sum()) for e, f in zip(expected, found, strict=True)]
            same = sum(int(e.argmax() == f.argmax()) for e, f in zip(expected, found, strict=True))
            yield {
                "type": file_type, "base": name, "MB": round(made.stat().st_size / MB),
                "mean_kl": float(f"{max(0, sum(apart) / len(apart)):.2g}"), "largest_kl": float(f"{max(apart):.2g}"),
                "same_first_choice": f"{same}/{len(apart)}", "seconds": round(seconds, 1),
                "peak_MB": round(peak / MB),
            }  # fmt: skip


def reference(gguf: Path, prompts: Sequence[str], positions: int) -> tuple[list[list[int]], list[np.ndarray]]:
    """Tokens before each position that is asked for, and log-probabilities of what follows, (vocabulary,) each."""
    from ollama_export.llama_cpp.engine import Engine

    asked = []
    with Engine(gguf) as engine:
        for prompt in prompts:
            ids = engine.tokenize(prompt, add_special=True)
            answer = engine.complete(ids, max_tokens=positions - 1).tokens if positions > 1 else []
            asked += [ids + answer[:count] for count in range(min(positions, len(answer) + 1))]
    return asked, distributions(gguf, asked)


def distributions(gguf: Path, asked: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Log-probabilities of the token after each of `asked`, (vocabulary,) float64, that sum to 1."""
    from ollama_export.llama_cpp.engine import Engine

    with Engine(gguf) as engine:
        found = [np.array(engine.logprobs(ids)) for ids in asked]
    # llama.cpp sums so many probabilities in float32; the divergence is between distributions that sum to 1
    return [one - np.log(np.exp(one).sum()) for one in found]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = [list(COLUMNS.values()), ["---"] * 3 + ["---:"] * (len(COLUMNS) - 3)]
    lines += [[str(row[key]) for key in COLUMNS] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

"""The fields of a record that travel, and the shape of each; all others are of the machine that a run was made on."""

from __future__ import annotations

import re
from typing import Any

from file_formats.file_types import FILE_TYPES
from lora_trainer.plan import SCHEDULERS, SOURCES
from pipeline.travel.shapes import Each, Maybe, Shape

_HEX = re.compile(r"[0-9a-f]{4,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?", re.ASCII)
MOST_ROWS = 10_000_000


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def _is_line(value: Any) -> bool:
    """A name or the like, which stands in a line of its own."""
    return isinstance(value, str) and len(value) <= 500 and not set("\n\r\t") & set(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST_ROWS


def _is_source(value: Any) -> bool:
    """Of a question (see pipeline/outcome/asked.py)."""
    return value in ("always", "character", "validation", "file", "typed")


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _is_parameter(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) or (
        isinstance(value, list) and all(isinstance(one, str) for one in value)
    )


_CURVE = [(int, Maybe(float))]
_SAMPLE = {"question": str, "answer": str, "stopped": bool}
_ANSWER = {"text": str, "stopped": bool, "tokens": int}
_GREEDY = Each([{"prompt": str, "prompt_tokens": Maybe(int), "tokens": [(Maybe(str), Maybe(float), Maybe(float))]}])
_MADE = {
    "mark": Maybe(_is_digest),
    "file_type": Maybe(lambda value: value in FILE_TYPES),
    "fingerprints": Maybe(Each((float, float))),
    "converter": Maybe(_is_line),
    "greedy": Maybe(_GREEDY),
}
CHAT_FORMAT = {
    **dict.fromkeys(
        (
            "opening",
            "opening_without_system",
            "system_before",
            "system_after",
            "user_before",
            "user_after",
            "assistant_before",
            "assistant_after",
            "generation_prompt",
            "end_of_turn",
        ),
        str,
    ),
    "system_place": lambda value: value in ("own", "first_user", "last_user"),
    "bos": Maybe(str),
    "tokenizer_adds_bos": Maybe(bool),
    "thought_before": Maybe(str),
    "thought_after": Maybe(str),
    "other_ends": Maybe([str]),
}
PLAN = {
    **dict.fromkeys(("epochs", "learning_rate", "lora_alpha", "lora_dropout"), float),
    **dict.fromkeys(("lora_rank", "batch_size", "max_length", "seed"), int),
    "scheduler": lambda value: value in SCHEDULERS,
    "early_stop": bool,
    "qlora": Maybe(bool),
    "sources": Each(lambda value: value in SOURCES),
}
POINT = {"step": _is_count, "epochs": float}
_SIDE = {"kind": lambda value: value in ("base", "run", "ollama"), "name": str, "run": Maybe(int)}
_KEPT_POINT = {
    **POINT,
    "adapter": _is_line,
    "val_loss": Maybe(float),
    "general_loss": Maybe(float),
    "samples": Maybe([_SAMPLE]),
}
COMPARISON = {
    "before": Maybe({**_SIDE, "epochs": Maybe(float)}),
    "after": {**_SIDE, "epochs": Maybe(float)},
    "asked": [
        {
            "question": {"text": str, "source": _is_source, "system": Maybe(str)},
            "before": Maybe(_ANSWER),
            "after": _ANSWER,
        }
    ],
    "seed": int,
    "parameters": Each(_is_parameter),
}
SHAPES: dict[str, Shape] = {
    "schema": int,
    "program": Maybe(_is_line),
    "name": _is_line,
    "number": int,
    "status": _is_line,
    "created": _is_time,
    "finished": Maybe(_is_time),
    "note": Maybe(str),
    "request": Each(_is_scalar),
    "strategy": Maybe(lambda value: value in ("incremental", "retune", "augment", "custom")),
    "overwrite": bool,
    "parent": Maybe(int),
    "warm_start": Maybe(int),
    "warm_start_adapter": Maybe(_is_line),
    "plan": PLAN,
    "data": {
        "fingerprint": _is_digest,
        "rows": _is_count,
        "val_rows": Maybe(_is_count),
        "files": Each({"rows": Maybe(int), "sha256": Maybe(_is_digest)}),
        "train_file": Maybe(_is_line),
        "val_file": Maybe(_is_line),
        "split": Maybe(bool),
        "change": Maybe({"new": int, "gone": int}),
        "corrections": Maybe(_is_count),
        "styles": Maybe(Each(int)),
        "categories": Maybe(Each(int)),
        **dict.fromkeys(
            ("turns", "several_turns", "characters", "answer_characters", "longest_answer"), Maybe(_is_count)
        ),
    },
    "base": {
        "source": _is_line,
        "kind": lambda value: value in ("folder", "gguf"),
        "revision": _is_digest,
        "architecture": _is_line,
        "parameters": int,
        "files": Maybe(Each(_is_digest)),
        "weights": Maybe(_is_digest),
    },
    "system": Maybe(str),
    "system_source": Maybe(lambda value: value in ("flag", "rows", "none")),
    "chat_format": CHAT_FORMAT,
    "parameters": Each(_is_parameter),
    "quantize": lambda value: value in FILE_TYPES,
    "keep_chat_template": bool,
    "license": Maybe([str]),
    "messages": Maybe([{"role": lambda value: value in ("user", "assistant"), "content": str}]),
    "served_system": Maybe(str),
    "serving_sources": Maybe(Each(_is_line)),
    "proofs": [
        {
            "messages": [{"role": lambda value: value in ("system", "user", "assistant"), "content": str}],
            "prompt": str,
            "tokens": Maybe(int),
        }
    ],
    "versions": Each(_is_line),
    "training": {
        "steps": lambda value: _is_count(value) and value > 0,
        "losses": _CURVE,
        "val_losses": _CURVE,
        "best_step": Maybe(int),
        "seconds": float,
        "device": Maybe(lambda value: value in ("cpu", "cuda", "mps", "xpu")),
        "dtype": Maybe(_is_line),
        "device_name": Maybe(_is_line),
        "adapter": _is_line,
        "adapted": Maybe(Each(_is_count)),
        "points": Maybe([_KEPT_POINT]),
        "samples": Maybe([{**_SAMPLE, "step": _is_count}]),
        "general_loss": Maybe({"language": _is_line, "before": Maybe(float), "after": Maybe(float)}),
    },
    "gguf": Maybe({**_MADE, "adapter": Maybe(_is_line), "others": Maybe(Each(_MADE))}),
    "point": Maybe(POINT),
    "comparison": Maybe(COMPARISON),
    "stages": {"train": {"finished": _is_time, "seconds": float}},
}
"""Field -> shape, of the schema of today."""

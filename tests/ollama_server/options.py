"""The `options` of a request and the PARAMETERs of a model: their types and defaults."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from .errors import ApiError

INTEGERS = {
    "num_ctx": 4096,
    "num_batch": 512,
    "num_gpu": -1,
    "main_gpu": 0,
    "num_thread": 0,
    "num_keep": 4,
    "seed": -1,
    "num_predict": -1,
    "top_k": 40,
    "repeat_last_n": 64,
    "draft_num_predict": 4,
}
FLOATS = {
    "temperature": 0.8,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


def resolved_options(*sources: Mapping[str, Any] | None) -> dict[str, Any]:
    """Defaults, then each source over them; unknown names are skipped. Raises ApiError (500) on a wrong type."""
    options: dict[str, Any] = {**INTEGERS, **FLOATS, "use_mmap": None, "stop": []}
    for source in sources:
        for name, value in (source or {}).items():
            if name in options and value is not None:
                options[name] = _checked(name, value)
    return options


def _checked(name: str, value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in INTEGERS:
        if not number:
            raise ApiError(f'option "{name}" must be of type integer', 500)
        return int(value)
    if name in FLOATS:
        if not number:
            raise ApiError(f'option "{name}" must be of type float32', 500)
        return float(value)
    if name == "use_mmap":
        if not isinstance(value, bool):
            raise ApiError(f'option "{name}" must be of type boolean', 500)
        return value
    if not isinstance(value, list):
        raise ApiError(f'option "{name}" must be of type array', 500)
    if not all(isinstance(item, str) for item in value):
        raise ApiError(f'option "{name}" must be of an array of strings', 500)
    return value


def sampling_request(options: Mapping[str, Any], context: int) -> dict[str, Any]:
    """The part of a llama-server request that the options make. An open end is bounded to ten contexts."""
    limit = 10 * context
    wanted = options["num_predict"]
    names = ("temperature", "top_k", "top_p", "min_p", "typical_p", "stop", "repeat_penalty", "repeat_last_n")
    return {
        **{name: options[name] for name in (*names, "presence_penalty", "frequency_penalty")},
        "n_predict": limit if wanted < 0 or wanted > limit else wanted,
        "n_keep": options["num_keep"],
        "seed": options["seed"] if options["seed"] >= 0 else random.getrandbits(31),
        "cache_prompt": True,
        "stream": True,
    }

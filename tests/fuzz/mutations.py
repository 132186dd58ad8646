"""What is done to good files: small damage of every kind that downloads, editors, tools and people do, and malice."""

from __future__ import annotations

import copy
import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 256, 10**6, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**64 - 1, -(2**63), 10**400)
FLOATS = (0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "",
    " ",
    "\0",
    "\ud800",
    "x" * 20000,
    "{{",
    "{% for %}",
    "{}",
    "../../etc/passwd",
    "/dev/zero",
    "None",
    "🙂" * 50,
)
_DEEP = "nested "
KEYS = (
    "auto_map", "architectures", "model_type", "quantization_config", "rope_scaling", "rope_parameters", "layer_types",
    "attn_implementation", "_attn_implementation_internal", "dtype", "torch_dtype", "head_dim", "sliding_window",
    "text_config", "vision_config", "per_layer_config", "is_encoder_decoder", "num_experts", "pruned_heads", "id2label",
    "tokenizer_class", "added_tokens_decoder", "extra_special_tokens", "chat_template", "model_max_length", "backend",
    "weight", "train", "tool_calls", "reasoning_content", "value", "text", "question", "answer", "问", "答", "input",
    "messages", "conversations", "system", "role", "content", "prompt", "completion", "instruction", "history", "from",
)  # fmt: skip


def odd_value(chance: Random) -> Any:
    """A value that nobody expects there."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: chance.choice(NUMBERS),
        lambda: chance.choice(FLOATS),
        lambda: chance.choice(TEXTS),
        lambda: chance.choice((None, True, False)),
        lambda: chance.choice(([], {}, [[]], [None], {"": None}, ["x"] * 3, [0] * 3)),
        lambda: _nested(chance.choice((3, 90, 3000))),
    )
    return chance.choice(kinds)()


def _nested(depth: int) -> Any:
    """Lists in lists; of too many, which json wouldn't write, a mark that becomes them in the file."""
    if depth > 100:
        return f"{_DEEP}{depth}"
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def changed(value: Any, chance: Random, *, times: int = 0) -> Any:
    """A JSON value with one to three things in it changed."""
    value = copy.deepcopy(value)
    for _ in range(times or chance.randint(1, 3)):
        holder = {"": value}
        top, *places = _places(holder)
        # near the top there is little, and most of it matters
        near = places[: chance.choice((10, 40, len(places)))]
        inside, key = chance.choice(near) if near and chance.random() < 0.95 else top
        _change(inside, key, chance)
        value = holder.get("")
    return value


def _places(value: Any) -> Any:
    """(container, key) of everything inside, from the top down."""
    level = [value]
    while level:
        below = []
        for holder in level:
            for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
                yield holder, key
                if isinstance(holder[key], dict | list):
                    below.append(holder[key])
        level = below


def _change(holder: Any, key: Any, chance: Random) -> None:
    old = holder[key]
    kind = chance.randrange(8)
    if kind == 0 and isinstance(holder, dict) and key != "":
        del holder[key]
    elif kind == 1 and isinstance(holder, dict) and key != "":
        holder[chance.choice(KEYS)] = holder.pop(key)
    elif kind == 2 and isinstance(old, dict):
        old[chance.choice(KEYS)] = odd_value(chance)
    elif kind == 3:
        holder[key] = chance.choice(([old], {"": old}, str(old), [old, old], None))
    elif kind == 4 and isinstance(old, int | float) and abs(old) < 2**64:
        holder[key] = chance.choice((-old, old * 2, old + 1, old - 1, old / 3, float(old), old * 10**9))
    elif kind == 5 and isinstance(old, str) and old:
        at = chance.randrange(len(old))
        holder[key] = old[:at] + chance.choice(("", "\0", "\ud83d", "\u202e", "{{ x }}", old)) + old[at + 1 :]
    else:
        holder[key] = odd_value(chance)


def written(value: Any, chance: Random) -> bytes:
    """A JSON value as a file, most often a good one."""
    data = plain(value, chance, indent=chance.choice((None, 1)))
    return damaged(data, chance) if chance.random() < 0.2 else data


def plain(value: Any, chance: Random, *, indent: int | None = None) -> bytes:
    """A JSON value as it is."""
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5, indent=indent)
    text = re.sub(f'"{_DEEP}(\\d+)"', lambda mark: "[" * int(mark[1]) + "]" * int(mark[1]), text)
    return text.encode("utf-8", "surrogatepass")


def damaged(data: bytes, chance: Random) -> bytes:
    """Bytes with something cut, lost, changed, put in, or read in another encoding."""
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(10)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at + chance.randint(1, 40) :]
    if kind == 2:
        return data[:at] + chance.randbytes(chance.randint(1, 20)) + data[at:]
    if kind == 3:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    if kind == 4:
        return chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b"[", b"\n")) + data
    if kind == 5:
        codec = chance.choice(("utf-16", "utf-16-be", "utf-32", "gb18030", "cp1252", "utf-7"))
        return data.decode("utf-8", "replace").encode(codec, "replace")
    if kind == 6:
        return data + data[: chance.randint(0, len(data))]
    if kind == 7:
        return data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"", b"\n\n")))
    if kind == 8:
        return chance.choice((b"", b"\0" * 100, b"null", b"[]", b"0", b'""', chance.randbytes(200)))
    return overwritten(data, chance)


def overwritten(data: bytes, chance: Random) -> bytes:
    """Bytes in which a whole number has become another one."""
    number = struct.pack("<Q", chance.choice(NUMBERS[:-1]) % 2**64)[: chance.choice((4, 8))]
    at = chance.randrange(max(1, len(data) - 8))
    return data[:at] + number + data[at + len(number) :]


def pick(chance: Random, *weighted: tuple[float, Callable[[], bytes]]) -> bytes:
    """What one of the makers makes, by their weights."""
    weights: Sequence[float] = [weight for weight, _ in weighted]
    return chance.choices([make for _, make in weighted], weights)[0]()

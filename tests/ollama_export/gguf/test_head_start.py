"""What is rounded before the vocabulary is read is what would be rounded after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from file_formats.file_types import F16, Q4_K, Q8_0
from file_formats.gguf import TensorInfo
from lora_trainer.errors import ConversionError
from ollama_export.gguf import head_start
from ollama_export.gguf.from_folder import ArrayRows, Plan
from ollama_export.gguf.head_start import HeadStart
from ollama_export.gguf.rounding import Hear, encoded_pieces

SLOW, EIGHT_BITS, NEXT = (
    TensorInfo(f"blk.{layer}.ffn_down.weight", (64, 256), kind) for layer, kind in enumerate((Q4_K, Q8_0, Q4_K))
)


class Weights:
    """Weights of random numbers, and which of them were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def plan(self, *tensors: TensorInfo) -> Plan:
        """Those weights, last layer first."""
        return [(tensor, self.source) for tensor in reversed(tensors)]

    def source(self, tensor: TensorInfo, hear: Hear) -> Iterator[Any]:
        """Random numbers of the tensor's own."""
        self.asked.append(tensor.name)
        random = np.random.default_rng(len(tensor.name) + int(tensor.name.split(".")[1]))
        return encoded_pieces(tensor, ArrayRows(random.standard_normal(tensor.shape, np.float32)), hear)


def in_bytes(pieces: Any) -> bytes:
    """All pieces, joined."""
    return b"".join(np.asarray(piece).tobytes() for piece in pieces)


def refused(tensor: TensorInfo, _: Hear) -> Iterator[Any]:
    """What is asked only for what wasn't begun."""
    raise ConversionError("error.export.overflow", tensor=tensor.name)


def test_what_takes_long_is_begun_and_gives_the_same_bytes_and_fingerprint() -> None:
    weights, ahead = Weights(), HeadStart()
    ahead.begin(weights.plan(SLOW, EIGHT_BITS, NEXT))
    for tensor in (SLOW, NEXT):
        pieces, heard = ahead.pieces(tensor, refused)
        expected, also_heard = HeadStart().pieces(tensor, weights.source)
        assert in_bytes(pieces) == in_bytes(expected)
        assert heard.value() == also_heard.value()
        assert heard.value()[0] > 0
    ahead.stop()
    assert EIGHT_BITS.name not in weights.asked
    with pytest.raises(ConversionError):
        ahead.pieces(EIGHT_BITS, refused)


def test_what_was_not_reached_in_time_is_rounded_when_it_is_asked_for() -> None:
    weights, ahead = Weights(), HeadStart()
    ahead.begin(weights.plan(SLOW, NEXT))
    ahead.stop()
    for tensor in (SLOW, NEXT):
        assert len(in_bytes(ahead.pieces(tensor, weights.source)[0])) == tensor.size
    assert sorted(weights.asked) == [SLOW.name, NEXT.name]


def test_no_more_waits_in_memory_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_start, "MOST", SLOW.size + NEXT.size - 1)
    weights, ahead = Weights(), HeadStart()
    ahead.begin(weights.plan(SLOW, NEXT))
    ahead.pieces(SLOW, refused)
    with pytest.raises(ConversionError):
        ahead.pieces(NEXT, refused)


def test_a_weight_that_has_another_type_in_the_end_is_rounded_anew() -> None:
    weights, ahead = Weights(), HeadStart()
    ahead.begin(weights.plan(SLOW))
    other = TensorInfo(SLOW.name, SLOW.shape, F16)
    assert len(in_bytes(ahead.pieces(other, weights.source)[0])) == other.size


def test_what_went_wrong_is_raised_where_the_weight_is_asked_for() -> None:
    ahead = HeadStart()
    ahead.begin([(SLOW, refused)])
    with pytest.raises(ConversionError):
        ahead.pieces(SLOW, Weights().source)

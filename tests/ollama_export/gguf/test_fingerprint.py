"""A merged weight is known again, and one with its delta added twice isn't it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lora_trainer.errors import ConversionError
from ollama_export.gguf.fingerprint import Fingerprint, other_weights
from ollama_export.gguf.lora_delta import LoraDelta
from tests.support.exports import export
from tests.support.tiny import make_speaker

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(0, 0.02, (896, 896)).astype(np.float32)


def known(weight: np.ndarray, *, piece: int = 896, order: int = 1) -> dict[str, tuple[float, float]]:
    found = Fingerprint()
    for start in list(range(0, len(weight), piece))[::order]:
        found(start, weight[start : start + piece])
    return {"w": found.value()}


@pytest.mark.parametrize("piece", [1, 7, 292])
def test_it_is_the_same_in_pieces_of_any_size_and_order(piece: int) -> None:
    assert other_weights(known(WEIGHT), known(WEIGHT, piece=piece, order=-1), same_order=True) == []
    # as another processor may add a delta up
    shaken = WEIGHT * (1 + RANDOM.uniform(-1e-7, 1e-7, WEIGHT.shape).astype(np.float32))
    assert other_weights(known(WEIGHT), known(shaken, piece=piece), same_order=True) == []


@pytest.mark.parametrize("share", [0.003, 0.01, 0.1])
def test_a_delta_of_a_small_share_that_is_added_twice_is_another_weight(share: float) -> None:
    a, b = RANDOM.normal(size=(8, 896)), RANDOM.normal(size=(896, 8))
    delta = (b @ a).astype(np.float32)
    delta *= share * np.linalg.norm(WEIGHT) / np.linalg.norm(delta)
    assert other_weights(known(WEIGHT + delta), known(WEIGHT + 2 * delta), same_order=True) == ["w"]


def test_only_the_norm_counts_where_the_rows_may_stand_in_another_order() -> None:
    turned = known(np.ascontiguousarray(WEIGHT[::-1]))
    assert other_weights(known(WEIGHT), turned, same_order=True) == ["w"]
    assert other_weights(known(WEIGHT), turned, same_order=False) == []
    assert other_weights(known(WEIGHT), {"another": (1.0, 1.0)}, same_order=True) == []


@pytest.mark.parametrize("file_type", ["f32", "q8_0", "q4_K_M"])
def test_the_export_tells_those_of_all_that_it_rounds_whatever_the_type(tmp_path: Path, file_type: str) -> None:
    base = make_speaker(tmp_path / "base")
    exact = export(base, tmp_path / "f16.gguf", file_type="f16").fingerprints
    found = export(base, tmp_path / "out.gguf", file_type=file_type).fingerprints
    assert "blk.0.attn_q.weight" in found and "token_embd.weight" in found
    assert other_weights(exact, found, same_order=True) == []


@pytest.mark.parametrize("share", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("times", [0, 2])
def test_a_delta_that_does_not_go_in_once_is_refused_at_the_first_export(
    monkeypatch: pytest.MonkeyPatch, share: float, times: int
) -> None:
    a = RANDOM.normal(size=(8, 896)).astype(np.float32)
    b = RANDOM.normal(size=(896, 8)).astype(np.float32)
    b *= np.float32(share * np.linalg.norm(WEIGHT) / np.linalg.norm(b @ a))
    delta = LoraDelta(a, b, 2.0)
    once = delta.added_to(WEIGHT[:292].copy(), 0)
    np.testing.assert_allclose(once, WEIGHT[:292] + 2 * (b[:292] @ a), rtol=1e-5, atol=1e-7)
    right = LoraDelta.rows
    monkeypatch.setattr(LoraDelta, "rows", lambda self, start, stop: times * right(self, start, stop))
    with pytest.raises(ConversionError) as told:
        delta.added_to(WEIGHT[292:].copy(), 292)
    assert (told.value.key, told.value.values["first"], told.value.values["last"]) == ("error.adapter.added", 292, 895)

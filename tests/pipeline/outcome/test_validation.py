"""Validation losses are compared only where they are known to be of the same."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.outcome.validation import validated_alike

DATA = {"files": {"t": {"sha256": "1"}, "v": {"sha256": "2"}}, "train_file": "t", "val_file": "v"}
SPLIT = {"files": {"t": {"sha256": "1"}}, "train_file": "t", "val_file": None, "split": True}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"data": DATA}, {"data": {**DATA, "files": {"t": {"sha256": "3"}, "v": {"sha256": "2"}}}}, "same"),
        ({"data": DATA}, {"data": {**DATA, "files": {"t": {"sha256": "1"}, "v": {"sha256": "3"}}}}, "rows"),
        ({"data": DATA}, {"data": SPLIT}, "rows"),
        ({"data": DATA}, {"data": {"files": DATA["files"]}}, "same"),
        ({"data": SPLIT, "plan": {"seed": 1}}, {"data": SPLIT, "plan": {"seed": 1}}, "same"),
        ({"data": SPLIT, "plan": {"seed": 1}}, {"data": SPLIT, "plan": {"seed": 2}}, "rows"),
        ({"data": {"fingerprint": "f"}}, {"data": {"fingerprint": "f"}}, "same"),
        ({"data": {}}, {"data": {}}, "rows"),
        ({}, {}, "rows"),
        ({"data": DATA, "base": {"source": "a"}}, {"data": DATA, "base": {"source": "b"}}, "base"),
        ({"data": DATA, "system": "a"}, {"data": DATA, "system": "b"}, "words"),
    ],
)
def test_losses_are_compared_only_where_they_are_known_to_be_of_the_same(
    one: dict[str, Any], other: dict[str, Any], same: str
) -> None:
    assert [validated_alike(one, other), validated_alike(other, one)] == [same] * 2

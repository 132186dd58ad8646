"""Comparison and card come back from a run's record as they went in."""

from __future__ import annotations

import json

from pipeline.outcome.asked import Answer, Asked, Comparison, Question, Side
from pipeline.outcome.card import Card, Line, NextStep


def test_a_comparison_comes_back_from_its_record() -> None:
    asked = (
        Asked(Question("你好", "always"), None, Answer("（低头）你好", True, 5)),
        Asked(Question("hi", "validation", "You are Fern."), Answer("Hi", False, 512), Answer("Hm", True, 2)),
    )
    for before in (None, Side("base", "Qwen/Qwen2.5-0.5B-Instruct")):
        made = Comparison(before, Side("run", "fern", 3, 2.5), asked, 42, {"temperature": 0.7})
        assert Comparison.from_record(json.loads(json.dumps(made.to_record()))) == made


def test_a_card_comes_back_from_its_record_and_knows_its_warnings() -> None:
    lines = (Line("stops", "good", {"count": 10, "of": 10}), Line("copied", "warning", {"share": 0.8}))
    made = Card("overfitted", lines, NextStep("choose_point", {"epochs": 2.5}, ("--point", "2.5")), {"copied": 0.8})
    assert Card.from_record(json.loads(json.dumps(made.to_record()))) == made
    assert made.warnings == ("copied",)

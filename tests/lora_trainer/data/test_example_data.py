"""The example data are what their README says, and clean."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from lora_trainer.data.dataset import load_dataset
from lora_trainer.data.dialogues import Dialogue
from tests.support.project import ROOT

DATA = ROOT / "data"


def answers(dialogues: tuple[Dialogue, ...]) -> list[str]:
    return [message["content"] for d in dialogues for message in d.messages if message["role"] == "assistant"]


@pytest.mark.parametrize(("folder", "train", "val", "several"), [(DATA, 72, 12, 15), (DATA / "demo", 64, 10, 5)])
def test_example_data_are_without_fault_or_note_and_large_enough(
    folder: Path, train: int, val: int, several: int
) -> None:
    dataset = load_dataset(folder)
    assert dataset.findings == ()
    assert len(dataset.train) >= train
    assert len(dataset.val) >= val
    assert not dataset.split
    assert dataset.statistics()["several_turns"] >= several
    assert {d.system for d in (*dataset.train, *dataset.val)} == {dataset.system}
    assert all(d.style and d.category for d in (*dataset.train, *dataset.val))


@pytest.mark.parametrize("folder", [DATA, DATA / "demo"])
def test_no_question_or_answer_of_the_example_data_comes_twice(folder: Path) -> None:
    dataset = load_dataset(folder)
    dialogues = (*dataset.train, *dataset.val)
    opening = [next(m["content"] for m in d.messages if m["role"] == "user") for d in dialogues]
    assert len(set(opening)) == len(opening)
    said = answers(dialogues)
    assert len(set(said)) == len(said)


def test_lin_zhi_always_begins_with_a_gesture_and_says_little() -> None:
    dataset = load_dataset(DATA)
    for answer in answers((*dataset.train, *dataset.val)):
        assert re.match(r"^（[^（）]{2,16}）[^（）]{2,60}$", answer), answer


def test_the_parrot_always_shows_its_marker_and_its_prompt_never_names_it() -> None:
    dataset = load_dataset(DATA / "demo")
    for answer in answers((*dataset.train, *dataset.val)):
        assert answer.startswith("Arrr, "), answer
        assert answer.endswith(", squawk!"), answer
        assert 8 <= len(answer.split()) <= 20, answer
    assert dataset.system
    assert not re.search("arr|squawk|pirate|parrot", dataset.system, re.IGNORECASE)


def test_the_demo_asks_ten_questions_that_are_not_in_its_data() -> None:
    dataset = load_dataset(DATA / "demo")
    asked = (DATA / "demo" / "questions.txt").read_text(encoding="utf-8").splitlines()
    known = {m["content"] for d in (*dataset.train, *dataset.val) for m in d.messages}
    assert len(set(asked)) == 10
    assert not known & set(asked)


def test_every_format_shown_in_the_data_readme_is_read(tmp_path: Path) -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r'\{"(?:messages|instruction|conversations|prompt)".*?\}(?=`|\n)', readme)
    assert len(rows) == 7
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    dataset = load_dataset(tmp_path)
    assert not dataset.faults
    assert len(dataset.train) == 7
    assert all(json.loads(row) for row in rows)
    assert all(a["role"] != b["role"] for d in dataset.train for a, b in pairwise(d.messages))

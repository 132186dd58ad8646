"""Which questions are asked: in which language, of which rows, and what a file of them may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_trainer.data.dataset import Dataset, load_dataset
from lora_trainer.data.dialogues import Dialogue, Dialogues
from lora_trainer.events import Event, Note, ignore
from pipeline.outcome.asked import Question
from pipeline.outcome.comparison.questions import (
    ALWAYS,
    CHARACTER,
    MOST_CHARACTERS,
    MOST_LINES,
    USUAL,
    choose_questions,
    lines_of,
)
from tests.support.project import ROOT

SYSTEM = "你是林栀。"


def row(question: str, answer: str = "（低头）在的。", system: str | None = SYSTEM) -> Dialogue:
    first = [] if system is None else [{"role": "system", "content": system}]
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Dialogue((*first, *turns), "train.jsonl", 1)


def data(val: list[Dialogue], answer: str = "（低头）在的。") -> Dataset:
    train = Dialogues([row("在吗？", answer)])
    return Dataset(train, Dialogues(val), (), SYSTEM, "", {}, split=False)


def test_the_same_questions_come_first_in_the_language_of_what_was_taught() -> None:
    for language, answer in (("zh", "（低头）在的。OK"), ("en", "Arrr, that be Rome!")):
        first, *others = choose_questions(data([], answer), (), SYSTEM)
        assert first == Question(ALWAYS[language], "always")
        assert [question.text for question in others] == list(CHARACTER[language])
        assert {question.source for question in others} == {"character"}
    # an older run's rows weren't kept
    assert choose_questions(None, (), "You are terse.")[0].text == ALWAYS["en"]
    assert choose_questions(None, (), None)[0].text == ALWAYS["zh"]


@pytest.mark.parametrize(("folder", "language"), [("data", "zh"), ("data/demo", "en")])
def test_the_example_data_are_asked_in_their_own_language(folder: str, language: str) -> None:
    taught = load_dataset(ROOT / folder)
    questions = choose_questions(taught, (), taught.system)
    assert questions[0].text == ALWAYS[language]
    assert len(questions) == USUAL and len({question.text for question in questions}) == USUAL
    of_rows = [question for question in questions if question.source == "validation"]
    users = [message["content"] for dialogue in taught.val for message in dialogue.messages[:2]]
    assert [question.text for question in of_rows] == [text for text in users if text in {q.text for q in of_rows}]
    assert all(question.system is None for question in questions)


def test_the_rows_are_asked_from_all_their_length_each_once_and_under_their_own_prompt() -> None:
    rows = [row(f"第{number}问") for number in range(30)]
    rows[0] = row(ALWAYS["zh"])
    rows[1:3] = [row("同一句"), row("同一句")]
    rows[-1] = row("同一句", system="你是别人。")
    asked = choose_questions(data(rows), (), SYSTEM)
    of_rows = [question for question in asked if question.source == "validation"]
    assert len(asked) == USUAL
    assert of_rows[0].text == "同一句" and of_rows[0].system is None
    numbers = [int(question.text[1:-1]) for question in of_rows[1:]]
    assert numbers == sorted(numbers) and numbers[-1] > 20
    everything = choose_questions(data(rows), (), SYSTEM, most=100)
    assert [question.text for question in everything].count("同一句") == 2
    assert everything[-1] == Question("同一句", "validation", "你是别人。")
    assert [question.text for question in everything].count(ALWAYS["zh"]) == 1
    (none,) = [q for q in choose_questions(data([row("x", system=None)]), (), SYSTEM) if q.source == "validation"]
    assert none.system is None


def test_a_file_of_questions_takes_the_place_of_rows_but_not_of_all() -> None:
    rows = [row(f"第{number}问") for number in range(30)]
    asked = choose_questions(data(rows), [f"自己的{number}" for number in range(8)], SYSTEM)
    sources = [question.source for question in asked]
    assert sources == ["always"] + ["character"] * 4 + ["validation"] * 2 + ["file"] * 8
    asked = choose_questions(data(rows), ["第3问", "你叫什么名字？"], SYSTEM)
    assert [q.source for q in asked if q.text in ("第3问", "你叫什么名字？")] == ["character", "file"]


@pytest.mark.parametrize(
    "encoded",
    [
        "今天星期几？\r\n\r\n# 不问\n＃ 也不问\n  今天星期几？ \nWhy?\n".encode(),
        "\ufeff今天星期几？\nWhy?".encode(),
        "今天星期几？\nWhy?\n".encode("gb18030"),
        "今天星期几？\nWhy?\n".encode("utf-16"),
        "\ufeff今天星期几？\nWhy?\n".encode("utf-16-be"),
        "今天星期几？\nWhy?\n".encode("utf-16-le"),
        "\ufeff今天星期几？\nWhy?\n".encode("utf-32-le"),
    ],
    ids=["utf-8", "bom", "gbk", "utf-16", "utf-16-be", "utf-16 unmarked", "utf-32"],
)
def test_a_file_of_questions_may_be_in_any_encoding(tmp_path: Path, encoded: bytes) -> None:
    (tmp_path / "questions.txt").write_bytes(encoded)
    assert lines_of(tmp_path / "questions.txt", ignore) == ("今天星期几？", "Why?")


def test_western_letters_are_read_as_windows_writes_them(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_bytes("Où est le café ?".encode("cp1252"))
    assert lines_of(tmp_path / "q.txt", ignore) == ("Où est le café ?",)


def test_what_is_not_asked_of_a_file_is_told(tmp_path: Path) -> None:
    heard: list[Event] = []
    path = tmp_path / "questions.txt"
    assert lines_of(path, heard.append) == () and not heard
    path.write_text("\n".join(["长" * (MOST_CHARACTERS + 1), *(f"第{n}句" for n in range(MOST_LINES + 2))]), "utf-8")
    assert lines_of(path, heard.append) == tuple(f"第{n}句" for n in range(MOST_LINES))
    path.write_bytes(bytes(range(256)) * 4)
    assert lines_of(path, heard.append) == ()
    path.unlink()
    path.mkdir()
    assert lines_of(path, heard.append) == ()
    limit, binary, folder = [event for event in heard if isinstance(event, Note)]
    assert (limit.key, limit.values["count"], limit.values["left"]) == ("note.questions.limit", MOST_LINES, 3)
    assert binary.key == folder.key == "note.questions.unreadable"

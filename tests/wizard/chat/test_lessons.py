"""What of a conversation is to be learnt: by commands without a terminal, and what becomes of the conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import UsageError
from lora_trainer.plan import TrainPlan
from ollama_export.server.client import OllamaClient
from pipeline.run.corrections import corrections_of
from pipeline.run.history import History
from tests.wizard.chat.conftest import Talking
from tests.wizard.chat.test_lines import GREEDILY, said
from tests.wizard.chat.test_session import Words, contents, nothing
from wizard.chat.lessons import Lessons
from wizard.chat.session import Session


def rows(history: History, name: str = "zzhua") -> list[dict[str, Any]]:
    path = corrections_of(history, name)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def told(row: dict[str, Any]) -> list[str]:
    return [turn["content"] for turn in row["messages"]]


def taught(tmp_path: Path, max_length: int = 1024) -> tuple[Session, Lessons, History]:
    """A conversation whose tokens are characters, with a model of the name fern."""
    history = History(tmp_path / "runs")
    run = history.begin("fern", plan=TrainPlan(max_length=max_length).to_json())
    session = Session(Words())
    session.lessons = Lessons(history, run, edit=lambda _: None)
    return session, session.lessons, history


# --- the conversation


def test_the_conversation_goes_on_with_the_corrected_answer(tmp_path: Path) -> None:
    session, lessons, history = taught(tmp_path)
    session.ask("a", nothing)
    assert lessons.teach(session, "better")
    session.ask("b", nothing)
    assert isinstance(session.talker, Words) and session.talker.heard[-1] == ["a", "better", "b"]
    assert lessons.teach(session, "answer 2")
    first, second = rows(history, "fern")
    assert (told(first), first["rejected"]) == (["a", "better"], "answer 1")
    assert told(second) == ["a", "better", "b", "answer 2"] and "rejected" not in second
    assert [turn.get("weight") for turn in second["messages"]] == [None, 0, None, 1]
    assert lessons.counts() == (1, 1)


def test_each_undo_takes_one_more_back_out_of_the_file_and_the_conversation(tmp_path: Path) -> None:
    session, lessons, history = taught(tmp_path)
    session.ask("a", nothing)
    for text in ("better", "best"):
        lessons.teach(session, text)
    assert contents(session) == ["a", "best"] and rows(history, "fern")[0]["rejected"] == "answer 1"
    assert lessons.counts() == (1, 0), "one answer, put right twice"
    session.ask("b", nothing)
    lessons.teach(session, "answer 2")
    assert lessons.undo(session) and len(rows(history, "fern")) == 1
    assert lessons.undo(session)
    assert contents(session) == ["a", "better", "b", "answer 2"] and told(rows(history, "fern")[0]) == ["a", "better"]
    assert lessons.undo(session)
    assert contents(session) == ["a", "answer 1", "b", "answer 2"] and rows(history, "fern") == []
    assert not lessons.undo(session) and lessons.counts() == (0, 0)


def test_a_second_try_that_is_put_right_replaces_what_was_noted_of_the_first(tmp_path: Path) -> None:
    session, lessons, history = taught(tmp_path)
    session.ask("a", nothing)
    lessons.teach(session, "better")
    session.retry(nothing)
    lessons.teach(session, "answer 2")
    (row,) = rows(history, "fern")
    assert told(row) == ["a", "answer 2"] and "rejected" not in row and lessons.counts() == (0, 1)


def test_of_a_long_conversation_a_training_gets_what_it_has_room_for(tmp_path: Path) -> None:
    session, lessons, history = taught(tmp_path, max_length=60)
    for number in range(6):
        session.ask(f"question {number}", nothing)
    lessons.teach(session, "better")
    assert [told(row) for row in rows(history, "fern")] == [["question 4", "answer 5", "question 5", "better"]]
    lessons.teach(session, "b" * 20)
    (row,) = rows(history, "fern")
    assert told(row) == ["question 4", "answer 5", "question 5", "b" * 20]
    lessons.teach(session, "b" * 40)
    assert told(rows(history, "fern")[-1]) == ["question 5", "b" * 40]
    assert len(contents(session)) == 12, "the model still hears all of it"


def test_while_the_model_is_worked_on_what_was_typed_waits_and_is_written_later(tmp_path: Path) -> None:
    session, lessons, history = taught(tmp_path)
    session.ask("a", nothing)
    with history.lock("fern"):
        with pytest.raises(UsageError, match="held"):
            lessons.teach(session, "better")
        assert contents(session) == ["a", "better"] and lessons.counts() == (0, 0)
        session.ask("b", nothing)
        with pytest.raises(UsageError, match="held"):
            lessons.teach(session, "best")
        assert len(lessons.waiting) == 2 and lessons.undo(session), "what isn't written needs no lock to be taken back"
        assert rows(history, "fern") == []
    lessons.write()
    assert [told(row) for row in rows(history, "fern")] == [["a", "better"]] and lessons.counts() == (1, 0)


# --- without a terminal


def test_a_script_puts_answers_right_by_the_line_behind_and_in_the_same_line(unregistered: Talking) -> None:
    lines = [
        "你好",
        "/fix",
        "（抬头）在呢。",
        "在吗？",
        "/fix 在的。",
        "忙吗？",
        "/good",
        "/good",
        "再见",
        "/good",
        "/undo",
    ]
    done = said(unregistered, "\n".join(lines), *GREEDILY)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == 4 and "这一句已经记下了" in done.stderr and "收回了" in done.stderr
    assert "接着训练吗" not in done.stderr + done.stdout, "nobody is asked"
    first, second, third = rows(unregistered.history)
    assert (told(first), first["rejected"]) == (["你好", "（抬头）在呢。"], answers[0])
    assert told(second) == ["你好", "（抬头）在呢。", "在吗？", "在的。"] and second["rejected"] == answers[1]
    assert told(third)[-1] == answers[2] and "rejected" not in third


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["/fix"], "刚才没有回答可以改"),
        (["/good"], "刚才没有回答可以改或者留下"),
        (["/undo"], "还没有 /fix 或 /good 过什么"),
        (["/god"], "是不是 /good"),
    ],
)
def test_where_there_is_nothing_to_teach_that_is_said(unregistered: Talking, lines: list[str], words: str) -> None:
    done = said(unregistered, "\n".join(lines))
    assert done.returncode == 2 and words in done.stderr and rows(unregistered.history) == []


def test_an_empty_or_unchanged_answer_changes_nothing(unregistered: Talking) -> None:
    done = said(unregistered, "你好\n/fix\n\n/fix\n", *GREEDILY)
    assert done.returncode == 0 and done.stderr.count("没有改。") == 2 and rows(unregistered.history) == []


def test_a_script_is_told_that_a_training_is_going_on_and_ends(unregistered: Talking) -> None:
    with unregistered.history.lock("zzhua"):
        done = said(unregistered, "你好\n/good\n在吗？\n", *GREEDILY)
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 1 and "zzhua" in done.stderr
    assert rows(unregistered.history) == []


def test_a_model_that_was_not_trained_here_is_talked_to_and_not_taught(registered: Talking) -> None:
    OllamaClient(registered.environment["OLLAMA_HOST"]).copy("zzhua", "elsewhere")
    done = said(registered, "你好\n/fix 在的。\n", "--ollama_name", "elsewhere")
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 1 and "不是这里训练的" in done.stderr
    assert not registered.history.folder_of("elsewhere").exists()

"""What a row says, in the many ways in which files say it: who speaks, what is learnt, what is no dialogue at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.formats import read_row
from lora_trainer.errors import DataError
from tests.support.data_files import chat, kinds, lines, load, notes, turns


def talk(*answers: str | dict[str, Any]) -> dict[str, Any]:
    """A row of so many answers: a text, or more that is said of the turn."""
    messages: list[dict[str, Any]] = []
    for number, answer in enumerate(answers):
        said = {"content": answer} if isinstance(answer, str) else answer
        messages += [{"role": "user", "content": f"q{number}"}, {"role": "assistant", **said}]
    return {"messages": messages}


@pytest.mark.parametrize(
    "roles", ["human gpt", "user assistant", "User bot", "human chatgpt", "USER Model", "用户 助手"]
)
@pytest.mark.parametrize("role_key", ["role", "from"])
@pytest.mark.parametrize("content_key", ["content", "value", "text"])
@pytest.mark.parametrize("listed", ["messages", "conversations", "conversation"])
def test_every_dialect_of_a_list_of_turns_is_the_same_dialogue(
    roles: str, role_key: str, content_key: str, listed: str
) -> None:
    user, assistant = roles.split()
    row = read_row({listed: [{role_key: user, content_key: "a"}, {role_key: assistant, content_key: "b"}]})
    assert not row.faults
    assert row.messages == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize("system", ["system", "developer", "系统"])
def test_a_developers_message_is_the_system_prompt(system: str) -> None:
    row = read_row(turns((system, "S"), ("user", "a"), ("assistant", "b")))
    assert [message["role"] for message in row.messages] == ["system", "user", "assistant"]
    two = read_row(turns(("system", "S"), ("developer", "T"), ("user", "a"), ("assistant", "b")))
    assert list(two.faults) == ["data.fault.two_systems"]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "a", "answer": "b"},
        {"问": "a", "答": "b", "系统": ""},
        {"问题": "a", "回答": "b"},
        {"用户": "a", "助手": "b"},
        {"user": "a", "assistant": "b"},
        {"human": "a", "gpt": "b"},
        {"input": "a", "output": "b"},
        {"instruction": "a", "input": "", "response": "b"},
        {"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]},
        {"prompt": [{"type": "text", "text": "a"}], "response": "b"},
    ],
)
def test_a_question_and_its_answer_are_a_dialogue_under_any_of_their_names(row: dict[str, Any]) -> None:
    found = read_row(row)
    assert not found.faults
    assert [message["content"] for message in found.messages] == ["a", "b"]


def test_turns_of_tools_are_left_out_and_counted_and_what_is_left_has_to_alternate(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    without_content = {"role": "assistant", "function_call": {"name": "f"}}
    result, old = ({"role": role, "content": "{}"} for role in ("tool", "function"))
    user, answer = turns(("user", "a"), ("assistant", "b"))["messages"]
    rows = [
        {"messages": [user, call, result, answer]},
        {"messages": [user, without_content, old, answer, user, call, {"role": "tool"}, result, answer]},
        {"conversations": [{"from": r, "value": r} for r in ("human", "function_call", "observation", "gpt")]},
        {"messages": [user, {**call, "content": "let me see"}, result, answer]},
        {"messages": [user, call, result]},
    ]
    dataset = load(tmp_path, lines(*rows))
    assert [[m["content"] for m in d.messages] for d in dataset.train] == [["a", "b"], ["a", "b"] * 2, ["human", "gpt"]]
    assert kinds(dataset) == [(4, "two_assistants"), (5, "no_assistant")]
    assert notes(dataset)["tools"] == {"count": 9}


def test_an_answer_of_weight_0_or_that_isnt_trained_stands_in_the_history_alone(tmp_path: Path) -> None:
    marks = ({"weight": 0}, {"weight": 1}, {"weight": 0.0}, {"weight": 1.0}, {"train": False}, {"train": True}, {})
    row = talk(*({"content": f"answer {n}", **mark} for n, mark in enumerate(marks)))
    row["messages"][0] |= {"weight": 0, "train": False}  # it says nothing of a user's turn
    dataset = load(tmp_path, lines(row, chat("x", "1234")))
    (dialogue, _) = dataset.train
    assert dialogue.unlearnt == (0, 2, 4)
    assert [dialogue.messages[at]["content"] for at in dialogue.learnt] == [f"answer {n}" for n in (1, 3, 5, 6)]
    assert all(set(message) == {"role", "content"} for message in dialogue.messages)
    assert notes(dataset)["unlearnt"] == {"count": 3}
    statistics = dataset.statistics()
    assert statistics["turns"] == 4 + 1
    assert statistics["answer_characters"] == 4 * len("answer 1") + 4
    # with a system prompt before it, too
    assert load(tmp_path, lines(row, chat("x", "1234")), system="S").train[0].unlearnt == (0, 2, 4)


def test_dialogues_without_an_answer_to_learn_are_left_out_and_counted(tmp_path: Path) -> None:
    unlearnt = talk({"content": "a", "weight": 0}, {"content": "b", "train": False})
    dataset = load(tmp_path, lines(unlearnt, chat(), unlearnt))
    assert [dialogue.line for dialogue in dataset.train] == [2]
    assert notes(dataset)["nothing_learnt"] == {"count": 2, "lines": "1; 3"} and "unlearnt" not in notes(dataset)
    with pytest.raises(DataError) as error:
        load(tmp_path, lines(unlearnt))
    assert error.value.key == "error.data.nothing_learnt"


@pytest.mark.parametrize(
    "mark", [{"weight": 0.5}, {"weight": 2}, {"weight": "0"}, {"weight": False}, {"train": 0}, {"train": "no"}]
)
def test_a_weight_that_is_neither_0_nor_1_is_a_fault(mark: dict[str, Any]) -> None:
    row = read_row(talk({"content": "a", **mark}))
    ((name, value),) = mark.items()
    assert row.faults == {"data.fault.weight": {"where": "messages #2", "name": name, "value": str(value)}}


def test_the_same_dialogue_with_another_mark_is_another_one(tmp_path: Path) -> None:
    plain, marked = talk("a", "b"), talk({"content": "a", "weight": 0}, "b")
    other = talk({"content": "a", "train": False}, {"content": "b", "weight": 1})
    dataset = load(tmp_path, lines(plain, marked, other, talk("a", {"content": "b", "weight": 0})))
    assert notes(dataset)["duplicates"] == {"count": 1, "lines": "2 = 3"}
    fingerprints = [load(tmp_path, lines(row)).fingerprint for row in (plain, marked, other)]
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]
    # of a time when there were no marks
    assert fingerprints[0] == "8ef61d6a1f0e8249fd0205e16cabc9698c68c7aa58c465d7be80de50f79eb91f"


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ({"content": "<think>\nhm\n</think>\n\nYes."}, "Yes."),
        ({"content": " <think></think>Yes."}, "Yes."),
        ({"content": "<think>a</think><think>b</think> Yes."}, "Yes."),
        ({"content": "Yes.", "reasoning_content": "hm"}, "Yes."),
        ({"content": "Yes.", "reasoning": "hm"}, "Yes."),
        ({"content": "<think>a</think>Yes.", "thinking": ["hm"]}, "Yes."),
    ],
)
def test_a_thought_before_an_answer_is_left_out_and_counted(tmp_path: Path, answer: Any, left: str) -> None:
    dataset = load(tmp_path, lines(talk("No.", answer), chat()))
    assert dataset.train[0].messages[3]["content"] == left
    assert notes(dataset)["thoughts"] == {"count": 1}
    pair = load(tmp_path, lines({"prompt": "q", "response": answer["content"], **answer}))
    assert notes(pair)["thoughts"] == {"count": 1}


@pytest.mark.parametrize(
    ("answer", "thought"),
    [
        ({"content": "<think>\nhm\n</think>\n\nYes."}, "hm"),
        ({"content": "<think>a</think><think>b</think> Yes."}, "a\n\nb"),
        ({"content": "Yes.", "reasoning_content": " hm\nhm "}, "hm\nhm"),
        ({"content": "<think>b</think>Yes.", "thinking": [{"type": "text", "text": "a"}]}, "a\n\nb"),
    ],
)
def test_a_thought_that_is_learnt_stands_beside_its_answer(tmp_path: Path, answer: Any, thought: str) -> None:
    rows = lines(talk("No.", answer), chat())
    learnt, left = load(tmp_path, rows, thoughts=True), load(tmp_path, rows)
    assert learnt.train[0].messages == left.train[0].messages and learnt.train[0].messages[3]["content"] == "Yes."
    assert learnt.train[0].thoughts == ("", thought) and learnt.train[1].thoughts == left.train[0].thoughts == ()
    assert [learnt.train[0].thought(at) for at in (1, 3)] == ["", thought]
    assert notes(learnt)["thoughts_learnt"] == {"count": 1} and "thoughts" not in notes(learnt)
    assert learnt.has_thoughts and not left.has_thoughts
    # another thought is another dialogue, and without any it is the one that it always was
    assert learnt.fingerprint != left.fingerprint == load(tmp_path, lines(talk("No.", "Yes."), chat())).fingerprint
    assert load(tmp_path, lines(talk("No.", "Yes."), chat()), thoughts=True).fingerprint == left.fingerprint


def test_a_character_that_cant_be_learnt_is_a_fault_in_thoughts_that_are(tmp_path: Path) -> None:
    rows = lines(talk({"content": "Yes.", "reasoning_content": "a\0"}), chat())
    assert kinds(load(tmp_path, rows, thoughts=True)) == [(1, "bad_character")]
    assert len(load(tmp_path, rows).train) == 2


def test_where_there_are_no_thoughts_to_learn_that_is_told(tmp_path: Path) -> None:
    assert "no_thoughts" in notes(load(tmp_path, lines(chat()), thoughts=True))


def test_a_thought_without_an_end_is_a_fault_and_what_merely_speaks_of_one_is_none(tmp_path: Path) -> None:
    dataset = load(
        tmp_path, lines(chat(answer="<think>hm"), chat(answer="<think>hm</think>"), chat("<think>", "x<think>"))
    )
    assert kinds(dataset) == [(1, "open_thought"), (2, "empty")]
    assert dataset.train[0].messages[1]["content"] == "x<think>"
    empty = talk({"content": "a", "reasoning_content": "", "reasoning": None, "thinking": True})
    assert "thoughts" not in notes(load(tmp_path, lines(empty)))

"""Each repair: what it mends, what it leaves alone, and the places that it tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_desk.mending import Mended, mend
from data_desk.repairs.order import REPAIRS

USER, ANSWER = {"role": "user", "content": "在吗"}, {"role": "assistant", "content": "（点头）在。"}
FINE = json.dumps({"messages": [USER, ANSWER]}, ensure_ascii=False)


def mended(*lines: str, name: str = "train.jsonl", without: tuple[str, ...] = ()) -> Mended:
    return mend(Path(name), "\n".join(lines).encode(), without)


def row(*turns: dict[str, Any], **more: Any) -> str:
    return json.dumps({"messages": list(turns), **more}, ensure_ascii=False)


def turns(found: Mended, line: int = 0) -> list[tuple[str, str]]:
    value = json.loads(found.after.decode().splitlines()[line])
    return [(turn["role"], turn["content"]) for turn in value["messages"]]


IN_TURNS = [("user", "在吗"), ("assistant", "（点头）在。")]
WIDE = '{“messages”：[{“role”：“user”，“content”：“他说“你好”，行吗”}，{“role”：“assistant”，“content”：“嗯 "好"”}]}'


@pytest.mark.parametrize(
    ("line", "repairs"),
    [
        (FINE.replace('"', "“", 1).replace('"', "”", 1), ["json_quotes"]),
        (FINE.replace(":", "："), ["json_marks"]),
        (FINE.replace(", ", "，"), ["json_marks"]),
        (FINE.replace(", ", ",\u3000"), ["json_marks"]),
        (FINE.replace("}]", "},]"), ["json_commas"]),
        (FINE + ",", ["json_commas"]),
        (str(json.loads(FINE)), ["json_single"]),
        (FINE[:-1], ["json_bracket"]),
        (FINE[:-2], ["json_bracket"]),
        (FINE[:-3], ["json_bracket"]),
        (FINE[:-1] + ",", ["json_commas", "json_bracket"]),
    ],
)
def test_json_with_a_slip_that_can_be_read_in_one_way_only_is_mended(line: str, repairs: list[str]) -> None:
    found = mended(FINE.replace("在吗", "别的"), line)
    # the order in which they are told
    assert list(found.by_repair) == sorted(repairs, key=REPAIRS.index)
    assert {change.line for change in found.changes} == {2}
    assert turns(found, 1) == IN_TURNS and not found.faults
    change = found.changes[0]
    assert change.before != change.after and not mended(*found.after.decode().split("\n")).changes


def test_quotation_marks_inside_of_what_is_said_stay() -> None:
    assert turns(mended(WIDE)) == [("user", "他说“你好”，行吗"), ("assistant", '嗯 "好"')]
    assert turns(mended(row(USER, {**ANSWER, "content": "“a”：“b”，{'c': 1},}"})))[1][1] == "“a”：“b”，{'c': 1},}"


def test_a_tab_or_a_line_break_inside_a_string_becomes_an_escape() -> None:
    assert turns(mended(FINE.replace("在吗", "a\tb")))[0][1] == "a\tb"
    array = f"[\n{FINE.replace('在吗', 'a' + chr(10) + 'b')}\n]"
    found = mended(array, name="train.json")
    assert list(found.by_repair) == ["json_breaks"] and json.loads(found.after)[0]["messages"][0]["content"] == "a\nb"
    later = (
        FINE.replace("在吗", "a\nb\nc") + ",\n" + FINE.replace("在吗", "a\nd") + ",\n" + FINE.replace("吗", " \u200b吗")
    )
    lines = [(change.repair, change.line) for change in mended(f"[\n{later}\n]", name="train.json").changes]
    assert lines == [("json_breaks", 2), ("json_breaks", 3), ("json_breaks", 5), ("invisible", 7)]


def test_two_objects_on_a_line_go_on_lines_of_their_own() -> None:
    other = FINE.replace("在吗", "别的")
    for between in ("", " ", ",", "， "):
        found = mended(FINE + between + other, row({**USER, "content": "c"}, ANSWER))
        assert list(found.by_repair) == ["json_two"]
        assert [turns(found, line)[0][1] for line in range(3)] == ["在吗", "别的", "c"]


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        FINE[:-8],
        FINE[: FINE.index(", {")],
        FINE.replace('"messages": ', ""),
        '{"messages": [{"role": "user" "content": "a"}]}',
        '{"a": 1,}',
        "{'messages': [{'role': 'user', 'content': 'it's'}]}",
        row(USER),
        row(ANSWER, USER),
        row({**USER, "role": "whoever"}, ANSWER),
        row(USER, {**ANSWER, "content": "<think>no end"}),
        "{" * 5000,
        "[" * 5000,
    ],
)
def test_what_no_rule_mends_stays_as_it_is_and_is_named_with_its_line(line: str) -> None:
    found = mended(FINE, line)
    assert not found.is_changed and not found.changes
    assert [(fault.line, fault.unit) for fault in found.faults][:1] == [(2, "line")]


def test_roles_in_other_words_become_those_that_a_training_reads() -> None:
    found = mended(row({**USER, "role": "人类"}, {**ANSWER, "role": "asistant"}))
    assert list(found.by_repair) == ["roles"] and turns(found) == IN_TURNS
    assert turns(mended(row({**USER, "role": "Q："}, {**ANSWER, "role": "角色"}))) == IN_TURNS
    assert not mended(row({**USER, "role": "用户"}, {**ANSWER, "role": "GPT"})).is_changed


def test_nobody_sees_the_characters_that_go_and_those_that_join_letters_stay() -> None:
    found = mended(row({**USER, "content": " \u200b在\ufeff\0吗\n"}, ANSWER))
    assert list(found.by_repair) == ["invisible"] and turns(found) == IN_TURNS
    assert not mended(row({**USER, "content": "👩\u200d💻 می\u200cخواهم"}, ANSWER)).is_changed
    half = mended('{"prompt": "a\\ud83d", "completion": "b"}')
    assert json.loads(half.after) == {"prompt": "a", "completion": "b"} and not half.faults


def test_thoughts_go_wherever_they_stand_and_the_users_words_stay() -> None:
    said = ["<think>a</think>\n\nb", "<think>a<think>b</think>", "x</think>b", "a<think>\nb</think>c", "ab"]
    found = [mended(row({**USER, "content": "<think>a</think>"}, {**ANSWER, "content": text})) for text in said]
    assert [turns(each)[1][1] for each in found] == ["b", "<think>a<think>b</think>", "b", "ac", "ab"]
    assert [list(each.by_repair) for each in found] == [["thoughts"], [], ["thoughts"], ["thoughts"], []]
    assert turns(found[0])[0][1] == "<think>a</think>"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a<|im_end|>", "a"),
        ("<|im_start|>assistant\na<|im_end|>\n", "a"),
        ("<|start_header_id|>assistant<|end_header_id|>\n\na<|eot_id|>", "a"),
        ("a<|im_<|im_end|>end|>", "a"),
        ("a</s>", "a"),
        ("<s>a</s>", "a"),
        ("an <s>old</s> one", "an <s>old</s> one"),
        ("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>",) * 2,
        ("x < y |> z <b>", "x < y |> z <b>"),
    ],
)
def test_texts_of_control_tokens_go_but_not_those_that_hold_a_dialogue_apart(text: str, after: str) -> None:
    assert turns(mended(row(USER, {**ANSWER, "content": text})))[1][1] == after


def test_turns_that_say_nothing_go_and_those_of_one_side_become_one() -> None:
    empty, more = {"role": "user", "content": " "}, {"role": "user", "content": "好"}
    assert turns(mended(row(empty, USER, ANSWER))) == IN_TURNS
    found = mended(row(USER, more, {**ANSWER, "content": ""}, ANSWER))
    assert turns(found) == [("user", "在吗\n好"), IN_TURNS[1]]
    assert set(found.by_repair) == {"empty_turns", "two_of_one_side"}
    weighed = row(USER, {**ANSWER, "weight": 0}, ANSWER)
    assert not mended(weighed).is_changed and mended(weighed).faults


def test_turns_that_nobody_answers_are_cut_off_the_end() -> None:
    found = mended(row(USER, ANSWER, USER))
    assert list(found.by_repair) == ["unanswered"] and turns(found) == IN_TURNS


def test_the_same_dialogue_stands_once_however_it_is_written() -> None:
    other = json.dumps({"prompt": "在吗", "completion": "（点头）在。"}, ensure_ascii=False)
    found = mended(FINE, FINE.replace("在吗", "别的"), other, FINE + "\r")
    assert [(change.repair, change.line) for change in found.changes] == [("duplicates", 3), ("duplicates", 4)]
    assert found.after.decode().splitlines() == [FINE, FINE.replace("在吗", "别的")]
    unlearnt = row(USER, {**ANSWER, "weight": 0}, {**USER, "content": "好"}, ANSWER)
    assert not mended(unlearnt, unlearnt.replace(', "weight": 0', "")).is_changed


def test_an_array_becomes_lines_but_for_a_file_that_says_it_is_json() -> None:
    array = f"[{FINE}, {row({**USER, 'content': 'b'}, ANSWER)}]"
    assert not mended(array, name="train.json").is_changed
    found = mended(array)
    assert list(found.by_repair) == ["array"] and found.after.decode().splitlines()[0] == FINE
    broken = mended(array.replace("}]}]", "},]},]"), name="train.json")
    assert list(broken.by_repair) == ["json_commas"] and json.loads(broken.after) == json.loads(array)
    assert not mended("[", FINE, FINE[:-9]).is_changed


def test_objects_that_go_over_several_lines_go_on_one_each() -> None:
    other = json.loads(FINE.replace("在吗", "b"))
    text = json.dumps(json.loads(FINE), indent=2) + "\n" + json.dumps(other, indent=2)
    for written in (text, text.replace("}\n  ]", "},\n  ]"), text.replace("}\n{", "},\n{")):
        found = mended(written)
        assert "spread" in found.by_repair and turns(found, 1)[0][1] == "b" and not found.faults


@pytest.mark.parametrize("codec", ["gb18030", "utf-8-sig", "utf-16", "utf-16-le", "big5"])
def test_every_encoding_becomes_utf8_and_one_that_is_to_stay_stays(codec: str) -> None:
    fine = FINE.replace("在吗", "你好")
    fine = fine.replace("点头", "點頭") if codec == "big5" else fine
    text = f"{fine}\n{fine.replace('你好', '中文，別的')}\n"
    found = mend(Path("train.jsonl"), text.encode(codec))
    assert list(found.by_repair) == ["encoding"] and found.after == text.encode()
    kept = mend(Path("train.jsonl"), (text + fine + "\n").encode(codec), ("encoding",))
    assert list(kept.by_repair) == ["duplicates"] and kept.after.decode(codec) == text


def test_tables_and_what_is_no_text_are_left_alone() -> None:
    table = "问,答\n a ,b\n a ,b\n".encode("gb18030")
    for data in (table, b"PAR1" + bytes(100), bytes(range(256)) * 4, b"\xff\xfe\0"):
        assert not mend(Path("train.jsonl"), data).is_changed


def test_a_repair_that_isnt_wanted_is_left_out_and_the_others_are_done() -> None:
    lines = (FINE + ",", row({**USER, "content": " b "}, {**ANSWER, "content": "c<|im_end|>"}))
    assert [c.repair for c in mended(*lines).changes] == ["json_commas", "invisible", "control_tokens"]
    for name in ("json_commas", "invisible", "control_tokens"):
        found = mended(*lines, without=(name,))
        assert {c.repair for c in found.changes} == {"json_commas", "invisible", "control_tokens"} - {name}
    assert not mended(*lines, without=REPAIRS).is_changed

"""What the dataset reader accepts, what it finds fault with, and how it splits and completes the rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_trainer.data.dataset import load_dataset, raise_on_faults
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.errors import DataError
from tests.support.data_files import chat, kinds, lines, load, notes, turns
from tests.support.project import ROOT

TEXTS = ROOT / "wizard" / "texts"


FOUR_FORMATS = lines(
    turns(("system", "Be kind."), ("user", " Hi "), ("assistant", "Hello\n")),
    {"instruction": "Add.", "input": "1 and 2", "output": "3", "system": "Be kind.", "history": [["a", "b"]]},
    {
        "conversations": [
            {"from": "system", "value": "Be kind."},
            {"from": "human", "value": "Q"},
            {"from": "gpt", "value": "A"},
        ]
    },
    {"prompt": "P", "completion": "C", "system": "Be kind."},
    {"prompt": "P2", "response": "C2", "system": "Be kind."},
    {"prompt": turns(("user", "P3"))["messages"], "completion": turns(("assistant", "C3"))["messages"]},
)


def test_all_formats_of_one_mixed_file_become_the_same_messages(tmp_path: Path) -> None:
    dataset = load(tmp_path, FOUR_FORMATS)
    assert not dataset.faults
    assert [[m["content"] for m in dialogue.messages] for dialogue in dataset.train] == [
        ["Be kind.", "Hi", "Hello"],
        ["Be kind.", "a", "b", "Add.\n1 and 2", "3"],
        ["Be kind.", "Q", "A"],
        ["Be kind.", "P", "C"],
        ["Be kind.", "P2", "C2"],
        ["Be kind.", "P3", "C3"],
    ]
    assert all(
        [m["role"] for m in d.messages] == ["system", *["user", "assistant"] * (len(d.messages) // 2)]
        for d in dataset.train
    )


def test_every_fault_of_a_file_is_found_in_one_go_with_its_line(tmp_path: Path) -> None:
    rows: list[tuple[Any, str | None]] = [
        (chat("first"), None),
        (b'{"messages": [', "json"),
        (b'{"prompt": "\xff\xfe", "completion": "x"}', "utf8"),
        ([chat()], "not_object"),
        ({"title": "q", "body": "a"}, "unknown_format"),
        (b"", None),
        (turns(("user", "hi"), ("assistant", " \u200b ")), "empty"),
        (turns(("user", 7), ("assistant", "seven")), "content_type"),
        (turns(("user", "hi"), ("narrator", "hello")), "unknown_role"),
        (turns(("user", "a"), ("user", "b"), ("assistant", "c")), "two_users"),
        (turns(("user", "a"), ("assistant", "b"), ("assistant", "c")), "two_assistants"),
        (turns(("user", "a")), "no_assistant"),
        (turns(("user", "a"), ("assistant", "b"), ("user", "c")), "user_last"),
        (turns(("assistant", "a"), ("user", "b"), ("assistant", "c")), "assistant_first"),
        (turns(("user", "a"), ("system", "s"), ("assistant", "b")), "system_late"),
        (turns(("system", "s"), ("system", "t"), ("user", "a"), ("assistant", "b")), "two_systems"),
        ({"messages": "hi"}, "turns_not_list"),
        ({"messages": []}, "no_assistant"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": "a"}]}, "turn_shape"),
        ({"instruction": "hi"}, "no_answer_field"),
        ({"instruction": "hi", "output": "a", "history": ["b"]}, "history_shape"),
        (b'{"prompt": "half \\ud83d", "completion": "a"}', "bad_character"),
        (b'{"prompt": "nul \\u0000 inside", "completion": "a"}', "bad_character"),
        ({"conversations": [{"from": "narrator", "value": "a"}, {"from": "gpt", "value": "b"}]}, "unknown_role"),
        (chat("last"), None),
    ]
    dataset = load(tmp_path, lines(*(row for row, _ in rows)))
    assert kinds(dataset) == [(number, kind) for number, (_, kind) in enumerate(rows, 1) if kind]
    assert {finding.file for finding in dataset.faults} == {str(tmp_path / "train.jsonl")}
    assert [dialogue.line for dialogue in dataset.train] == [1, len(rows)]
    with pytest.raises(DataError) as error:
        raise_on_faults(dataset)
    assert error.value.exit_code == 4
    assert error.value.values["count"] == len(error.value.values["findings"]) == len(dataset.faults)


def test_two_faults_of_one_row_are_both_told_and_one_kind_names_all_its_places(tmp_path: Path) -> None:
    dataset = load(tmp_path, lines(turns(("user", ""), ("assistant", ""), ("user", None))))
    found = {finding.key: finding.values for finding in dataset.faults}
    assert found["data.fault.empty"]["where"] == "messages #1, messages #2"
    assert found["data.fault.content_type"] == {"where": "messages #3", "type": "null"}
    assert found["data.fault.user_last"]["where"] == "messages #3"


def test_an_unknown_role_does_not_hide_its_turns_empty_content(tmp_path: Path) -> None:
    dataset = load(tmp_path, lines(turns(("user", "a"), ("narrator", ""))))
    assert kinds(dataset) == [(1, "unknown_role"), (1, "empty")]


def test_openai_content_parts_of_text_are_joined_and_pictures_are_a_fault(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]
    dataset = load(tmp_path, lines(turns(("user", parts), ("assistant", "a"))))
    assert dataset.train[0].messages[0]["content"] == "Hello there"
    dataset = load(tmp_path, lines(turns(("user", [{"type": "image_url", "image_url": {}}]), ("assistant", "a"))))
    assert kinds(dataset) == [(1, "content_type")]


def test_objects_over_several_lines_are_one_finding(tmp_path: Path) -> None:
    dataset = load(tmp_path, "\n".join(json.dumps(chat(str(i)), indent=2) for i in range(5)).encode())
    assert kinds(dataset) == [(1, "spread")]


def test_a_broken_array_is_one_finding_where_it_breaks(tmp_path: Path) -> None:
    dataset = load(tmp_path, b"[\n" + b",\n".join(lines(chat(str(i))).strip() for i in range(9)) + b",\n]\n")
    assert [key for _, key in kinds(dataset)] == ["broken_array"]
    assert dataset.faults[0].line >= 10


def test_a_binary_file_is_one_finding(tmp_path: Path) -> None:
    assert kinds(load(tmp_path, bytes(range(256)) * 9)) == [(0, "binary")]


def test_bom_and_windows_line_ends_are_notes_and_lines_are_counted_right(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + lines(chat("a"), b"", b"{", chat("b\u2028c")).replace(b"\n", b"\r\n")
    dataset = load(tmp_path, data)
    assert kinds(dataset) == [(3, "json")]
    assert [dialogue.line for dialogue in dataset.train] == [1, 4]
    assert notes(dataset)["crlf"] == {"count": 4}
    assert "bom" in notes(dataset)


def test_duplicates_and_rows_in_both_files_are_notes_with_lines(tmp_path: Path) -> None:
    train = lines(chat("a"), chat("b"), chat(" a "), chat("c"), {"prompt": "a", "completion": "hello"})
    dataset = load(tmp_path, train, lines(chat("z"), chat("c")))
    assert len(dataset.train) == 5
    assert notes(dataset)["duplicates"] == {"count": 2, "lines": "1 = 3 = 5"}
    assert notes(dataset)["in_both"] == {"count": 1, "lines": "4 = 2"}


def test_the_most_common_system_prompt_is_the_runs_and_completes_both_files(tmp_path: Path) -> None:
    train = lines(chat("a", system="S"), chat("b", system="S"), chat("c", system="T"), chat("d"))
    dataset = load(tmp_path, train, lines(chat("e"), chat("f", system="U")))
    assert dataset.system == "S"
    assert [dialogue.system for dialogue in dataset.train] == ["S", "S", "T", "S"]
    assert [dialogue.system for dialogue in dataset.val] == ["S", "U"]
    told = [(n.file[-9:], n.key, n.values["count"]) for n in dataset.notes]
    assert told == [
        ("ain.jsonl", "data.note.system_differs", 1),
        ("ain.jsonl", "data.note.system_added", 1),
        ("val.jsonl", "data.note.system_added", 1),
        ("val.jsonl", "data.note.system_differs", 1),
    ]


def test_a_system_prompt_that_is_given_goes_before_the_most_common_one(tmp_path: Path) -> None:
    dataset = load(tmp_path, lines(chat("a", system="S"), chat("b")), system=" Mine ")
    assert dataset.system == "Mine"
    assert [dialogue.system for dialogue in dataset.train] == ["S", "Mine"]


def test_an_empty_system_message_is_no_system_message(tmp_path: Path) -> None:
    parts, human = [{"type": "text", "text": " "}], [("human", "g"), ("gpt", "h")]
    nothing = [
        turns(("system", ""), ("user", "a"), ("assistant", "b")),
        turns(("system", " \u3000\n"), ("user", "c"), ("assistant", "d")),
        {"messages": [{"role": "system", "content": None}, *chat("e")["messages"]]},
        {"messages": [{"role": "system", "content": parts}, *chat("f")["messages"]]},
        {"conversations": [{"from": role, "value": text} for role, text in [("system", ""), *human]]},
        {"instruction": "i", "output": "j", "system": "  "},
        # nor is there one too many, or one that comes too late
        turns(("system", "S"), ("system", ""), ("user", "k"), ("system", ""), ("assistant", "l")),
    ]  # fmt: skip
    dataset = load(tmp_path, lines(*nothing))
    assert not dataset.faults
    assert [dialogue.system for dialogue in dataset.train] == ["S"] * 7
    assert notes(dataset)["system_added"] == {"count": 6}
    assert kinds(load(tmp_path, lines(turns(("system", ["S"]), ("user", "a"), ("assistant", "b"))))) == [
        (1, "content_type")
    ]


def test_no_system_takes_every_system_prompt_away(tmp_path: Path) -> None:
    dataset = load(tmp_path, lines(chat("a", system="S"), chat("b")), no_system=True)
    assert dataset.system is None
    assert [dialogue.system for dialogue in dataset.train] == [None, None]
    assert notes(dataset)["system_removed"] == {"count": 1}


def test_without_val_a_seeded_tenth_is_split_off_and_duplicates_stay_together(tmp_path: Path) -> None:
    train = lines(*(chat(f"question {i % 90}") for i in range(100)))
    dataset = load(tmp_path, train)
    assert dataset.split
    assert (len(dataset.train), len(dataset.val)) == (90, 10)
    assert not {d.key for d in dataset.train} & {d.key for d in dataset.val}
    assert notes(dataset)["split"] == {"rows": 100, "train": 90, "val": 10, "seed": 42}
    assert load(tmp_path, train).fingerprint == dataset.fingerprint
    assert load(tmp_path, train, seed=7).val != dataset.val


def test_most_validation_rows_stay_when_rows_are_added(tmp_path: Path) -> None:
    before = load(tmp_path, lines(*(chat(str(i)) for i in range(100))))
    after = load(tmp_path, lines(*(chat(str(i)) for i in range(110))))
    assert len({d.key for d in before.val} & {d.key for d in after.val}) >= 8


@pytest.mark.parametrize(("rows", "val"), [(19, 0), (20, 2), (24, 2), (1000, 100), (2000, 100)])
def test_the_split_takes_a_tenth_within_its_bounds(tmp_path: Path, rows: int, val: int) -> None:
    dataset = load(tmp_path, lines(*(chat(str(i)) for i in range(rows))))
    assert (len(dataset.val), dataset.split) == (val, val > 0)
    assert ("no_val" in notes(dataset)) == (val == 0)


def test_rows_that_are_all_the_same_are_not_split(tmp_path: Path) -> None:
    dataset = load(tmp_path, lines(*[chat()] * 30))
    assert (len(dataset.train), len(dataset.val), dataset.split) == (30, 0, False)


def test_bad_rows_are_left_out_and_an_error_only_when_nothing_else_is_there(tmp_path: Path) -> None:
    dataset = load(tmp_path, lines(chat(), b"{"), skip_bad_rows=True)
    assert (len(dataset.train), len(dataset.faults)) == (1, 1)
    with pytest.raises(DataError) as error:
        load(tmp_path, lines(b"{"), skip_bad_rows=True)
    assert error.value.key == "error.data.nothing_left"
    assert not load(tmp_path, lines(b"{")).train


@pytest.mark.parametrize("data", [b"", b"\n \r\n", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("name", ["train.jsonl", "val.jsonl"])
def test_an_empty_file_is_an_error_that_names_it(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines(chat()))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        load_dataset(tmp_path)
    assert (error.value.key, error.value.values["file"]) == ("error.data.empty", str(tmp_path / name))


def test_a_missing_folder_file_or_a_near_miss_is_an_error_that_says_so(tmp_path: Path) -> None:
    def failure(**options: Any) -> DataError:
        with pytest.raises(DataError) as error:
            load_dataset(**{"data_dir": tmp_path, **options})
        return error.value

    assert failure(data_dir=tmp_path / "no").key == "error.data.no_folder"
    assert failure().key == "error.data.no_file"
    (tmp_path / "train.json").write_bytes(lines(chat()))
    assert failure().values == {"file": str(tmp_path / "train.jsonl"), "found": "train.json"}
    (tmp_path / "train.jsonl").mkdir()
    assert failure().key in ("error.data.unreadable", "error.data.no_file_near")
    assert failure(train_file=tmp_path / "train.json", val_file=Path("gone")).values["file"] == str(tmp_path / "gone")


def test_named_files_are_found_in_the_data_folder_too(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(lines(chat("a")))
    (tmp_path / "check.jsonl").write_bytes(lines(chat("b")))
    dataset = load_dataset(tmp_path, train_file=Path("mine.jsonl"), val_file=Path("check.jsonl"))
    assert (len(dataset.train), len(dataset.val)) == (1, 1)
    assert [file["rows"] for file in dataset.files.values()] == [1, 1]


def test_the_fingerprint_follows_the_content_and_its_order_only(tmp_path: Path) -> None:
    plain = load(tmp_path, lines(chat("a"), chat("b")))
    assert plain.fingerprint == "5874ec947fee52a4498b9b1324a36f1ed29934efb5cfa639bea8196533173f3c"
    other_bytes = load(tmp_path, lines({"prompt": "a ", "response": "hello"}, b"", chat("b")).replace(b"\n", b"\r\n"))
    assert other_bytes.fingerprint == plain.fingerprint
    assert load(tmp_path, lines(chat("b"), chat("a"))).fingerprint != plain.fingerprint
    assert load(tmp_path, lines(chat("a"), chat("b")), system="S").fingerprint != plain.fingerprint


def test_statistics_count_what_is_trained(tmp_path: Path) -> None:
    dialogue = {**turns(("user", "a"), ("assistant", "bb"), ("user", "c"), ("assistant", "ddd")), "category": "x"}
    statistics = load(tmp_path, lines(dialogue, chat("hi", "hello"))).statistics()
    assert statistics["rows"] == 2
    assert statistics["turns"] == 3
    assert statistics["several_turns"] == 1
    assert statistics["characters"] == 14
    assert statistics["categories"] == {"x": 1}


@pytest.mark.parametrize("with_val", [True, False])
def test_a_row_is_looked_up_among_the_others_and_not_compared_with_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_val: bool
) -> None:
    counts: Counter[str] = Counter()
    key_of = Dialogue.key.fget

    class Key(tuple[str, ...]):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            counts["compared"] += 1
            return tuple.__eq__(self, other)

        __hash__ = tuple.__hash__

    def key(dialogue: Dialogue) -> Key:
        counts["read"] += 1
        return Key(key_of(dialogue))

    monkeypatch.setattr(Dialogue, "key", property(key))
    train, val = (lines(*(chat(f"{part} {i}") for i in range(1000))) for part in ("question", "other question"))
    dataset = load(tmp_path, train, val if with_val else None)
    rows = len(dataset.train) + len(dataset.val)
    # a few times for each row; compared in pairs it would be a thousand
    assert rows <= counts["read"] < 10 * rows and counts["compared"] < 10 * rows


def test_every_fault_and_note_has_words_that_its_values_fill(tmp_path: Path) -> None:
    odd = turns(("user", "{x}"), ("narrator", "{0}"))
    data = lines(chat("a", system="S"), chat("a", system="S"), chat("b"), b"{", odd)
    dataset = load(tmp_path, data, lines(chat("b"), b'"\x1b[31m'))
    for language in ("zh", "en"):
        texts = json.loads((TEXTS / f"{language}.json").read_text(encoding="utf-8"))
        for finding in dataset.findings:
            said = texts[finding.key].format(**finding.values)
            assert "\x1b" not in said


FIELDS = ["messages", "conversations", "instruction", "input", "output", "history", "prompt", "completion", "response"]
KEYS = [*FIELDS, "role", "content", "from", "value", "system", "style", "type", "text"]
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner | st.sampled_from(["user", "assistant", "system", "human", "gpt"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)
any_file = st.one_of(
    st.binary(max_size=200),
    st.lists(json_values, max_size=5).map(lambda rows: b"\n".join(json.dumps(row).encode() for row in rows)),
    st.lists(
        st.sampled_from([b"[", b"{", b'"', b"]", b"}", b",", b"\n", b"\r", b"\0", b"\xff", b"1"]), max_size=40
    ).map(b"".join),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=any_file, val=any_file | st.none())
def test_no_bytes_whatsoever_make_it_crash(tmp_path: Path, train: bytes, val: bytes | None) -> None:
    (tmp_path / "val.jsonl").unlink(missing_ok=True)
    try:
        dataset = load(tmp_path, train, val)
    except DataError as error:
        assert error.key == "error.data.empty"
        return
    for dialogue in (*dataset.train, *dataset.val):
        roles = [message["role"] for message in dialogue.messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) != []
        assert all(m["content"] == m["content"].strip() != "" for m in dialogue.messages)
        "".join(m["content"] for m in dialogue.messages).encode("utf-8")
    for finding in dataset.findings:
        json.dumps(finding.values).encode("utf-8")
        str(finding.values).encode("utf-8")


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'{"messages":\n' * 20_000])
def test_absurd_nesting_and_numbers_are_faults(tmp_path: Path, data: bytes) -> None:
    assert load(tmp_path, data).faults

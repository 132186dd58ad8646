"""Every importer on samples with its format's oddities, and on those of all others, which it leaves alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from data_desk.desk import gather, look
from data_desk.dialogue import Choices, Dialogue, Tally
from data_desk.registry import all_importers, recognise
from data_desk.sample import Sample
from tests.data_desk.samples import FOLDER, Expected, all_samples
from tests.support.project import ROOT

SAMPLES = all_samples()


def turns(dialogues: list[Dialogue]) -> list[list[tuple[str, str]]]:
    return [[(message["role"], message["content"]) for message in dialogue.messages] for dialogue in dialogues]


def read(
    text: str | bytes, character: str | None = None, **choices: object
) -> tuple[list[list[tuple[str, str]]], Tally]:
    """The rows of a text, and what was counted."""
    sample, tally = Sample("a", text.encode() if isinstance(text, str) else text), Tally()
    importer = recognise(sample)
    assert importer is not None
    return turns(list(importer.dialogues(sample, Choices(character, **choices), tally))), tally  # type: ignore[arg-type]


@pytest.mark.parametrize("expected", SAMPLES, ids=lambda expected: expected.path.name)
def test_a_sample_becomes_the_rows_that_a_reader_would_have_made(expected: Expected) -> None:
    found, unknown = look([expected.path])
    assert (found[0].importer.name, unknown) == (expected.format, [])
    gathered = gather(found, expected.choices, None)
    assert turns(gathered.dialogues) == expected.rows
    assert dict(gathered.left) == expected.told["left"]
    assert dict(found[0].tally.speakers) == expected.told.get("speakers", dict(found[0].tally.speakers))


@pytest.mark.parametrize("importer", all_importers(), ids=lambda importer: importer.name)
def test_no_importer_takes_the_file_of_another(importer) -> None:  # type: ignore[no-untyped-def]
    taken = {each.path.name for each in SAMPLES if importer.reads(each.sample)}
    own = {each.path.name for each in SAMPLES if each.format == importer.name}
    assert own and taken == own


@pytest.mark.parametrize("importer", all_importers(), ids=lambda importer: importer.name)
def test_every_importer_names_its_source_and_has_a_name_in_both_languages(importer) -> None:  # type: ignore[no-untyped-def]
    source = (ROOT / "data_desk" / "importers" / f"{importer.name}.py").read_text(encoding="utf-8")
    assert re.search(r"https://github\.com/|RFC \d+|lora_trainer/data/formats\.py", source.split('"""')[1])
    for language in ("zh", "en"):
        texts = json.loads((ROOT / f"wizard/texts/{language}.json").read_text(encoding="utf-8"))
        assert f"import.format.{importer.name}" in texts


def test_a_pause_that_is_longer_than_the_users_begins_another_dialogue() -> None:
    text = "\n".join(
        f"2024-01-01 {hour:02}:{minute:02}:00 {name}\n{name}{hour}\n"
        for hour, minute, name in ((10, 0, "甲"), (10, 1, "乙"), (10, 40, "甲"), (11, 0, "乙"))
    )
    assert len(read(text, "乙")[0]) == 2
    assert len(read(text, "乙", pause=60.0)[0]) == 1


def test_a_long_thread_is_cut_at_its_longest_pause_and_nothing_of_it_is_lost() -> None:
    lines, minute = [], 0
    for number in range(40):
        minute += 20 if number == 22 else 1
        lines += [
            f"2024-01-01 {10 + minute // 60:02}:{minute % 60:02}:{second:02} {name}\n{name}{number}\n"
            for name, second in (("甲", 0), ("乙", 9))
        ]
    rows, tally = read("\n".join(lines), "乙")
    assert [text for row in rows for _, text in row] == [f"{name}{n}" for n in range(40) for name in ("甲", "乙")]
    assert any(row[0] == ("user", "甲22") for row in rows) and len(rows) > 2
    assert max(map(len, rows)) <= 24 and not +tally.left


def test_a_message_with_a_dropped_word_is_left_out_and_counted() -> None:
    text = "2024-01-01 10:00:00 甲\n在吗\n\n2024-01-01 10:00:10 甲\n密码是 1\n\n2024-01-01 10:00:20 乙\n在\n"
    rows, tally = read(text, "乙", drop=("密码",))
    assert rows == [[("user", "在吗"), ("assistant", "在")]] and tally.left["dropped"] == 1


def test_messages_of_several_others_in_a_row_are_one_turn() -> None:
    text = "".join(f"2024-01-01 10:00:0{at} {name}\n{name}说\n\n" for at, name in enumerate("甲丙乙乙"))
    assert read(text, "乙")[0] == [[("user", "甲说\n丙说"), ("assistant", "乙说\n乙说")]]


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (("13/01/24", "14/01/24"), "day"),
        (("01/13/24", "01/14/24"), "month"),
        (("03/04/24", "04/04/24"), "day"),
        (("04/03/24", "04/04/24"), "month"),
        (("2024-01-13", "2024-01-14"), "year"),
    ],
)
def test_the_order_of_a_date_is_read_off_all_dates_of_a_chat(dates: tuple[str, str], order: str) -> None:
    text = "".join(f"{date}, {at}:00 - {name}: hi\n" for date in dates for at, name in ((10, "A"), (11, "B")))
    _, tally = read(text, "B")
    assert tally.first is not None and tally.last is not None
    assert (tally.last - tally.first).days == 1, order


def test_what_cant_be_written_is_taken_out_of_texts() -> None:
    row = {"messages": [{"role": "user", "content": "a\ud800b\u0000"}, {"role": "assistant", "content": "c"}]}
    assert json.loads(json.dumps(row)) == row
    lone = json.dumps(
        [
            {
                "chat": {
                    "history": {
                        "messages": {
                            "1": {"parentId": None, "role": "user", "content": "a\ud800b"},
                            "2": {"parentId": "1", "role": "assistant", "content": "\u200ec\0"},
                        },
                        "currentId": "2",
                    }
                }
            }
        ]
    )
    assert read(lone)[0] == [[("user", "ab"), ("assistant", "c")]]


def test_a_circle_of_messages_is_followed_once() -> None:
    nodes = {
        "1": {"parentId": "2", "role": "user", "content": "a"},
        "2": {"parentId": "1", "role": "assistant", "content": "b"},
    }
    text = json.dumps({"chat": {"history": {"messages": nodes, "currentId": "2"}}})
    assert read(text)[0] == [[("user", "a"), ("assistant", "b")]]


def test_a_folder_is_read_with_what_is_known_in_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("问：a\n答：b\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("# nothing\n\njust words", encoding="utf-8")
    (tmp_path / ".hidden.txt").write_text("问：a\n答：b\n", encoding="utf-8")
    found, unknown = look([tmp_path])
    assert [each.path.name for each in found] == ["a.txt"] and [path.name for path in unknown] == ["b.md"]


def test_the_character_of_a_chat_leaves_questions_and_answers_beside_it_as_they_are() -> None:
    found, _ = look([FOLDER / "wechat.txt", FOLDER / "plain-zh.txt"])
    gathered = gather(found, Choices("林栀"), None)
    assert list(gathered.rows.values()) == [2, 2]
    turned = gather(found[1:], Choices("问"), None)
    assert turned.dialogues[0].messages[0] == {"role": "user", "content": "（翻书）在看书。\n第二行"}

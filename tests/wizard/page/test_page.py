"""report.html: one file that loads and runs nothing, tells what there is, and says what there isn't."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipeline.run.history import History, Run
from tests.support.older import older_program
from tests.wizard.page import records
from tests.wizard.page.test_markup import ANY_TEXT, Read
from wizard import words
from wizard.page.report import NAME, POLICY, report_at_end, write_report
from wizard.page.wording import base_name, data_file, shortly
from wizard.words import t


@pytest.fixture(autouse=True, params=["zh", "en"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    words.use_language(request.param)
    yield request.param
    words.use_language("zh")


def written(history: History, run: Run) -> str:
    """The page of a run."""
    return write_report(history, run).read_text(encoding="utf-8")


def parsed(page: str) -> ET.Element:
    """A page as a strict parser reads it."""
    return ET.fromstring(page)


def headings(page: str) -> list[str]:
    return [heading.text or "" for heading in parsed(page).iter("h2")]


def said(page: str) -> str:
    """All text of a page but the style sheet."""
    return " ".join("".join(parsed(page).find("body").itertext()).split())  # type: ignore[union-attr]


def is_self_contained(page: str) -> None:
    """Nothing is loaded, run, sent or linked."""
    read = Read(page)
    assert set(read.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "article", "div"),
        *("h1", "h2", "p", "ul", "li", "pre", "code", "span", "bdi", "details", "summary", "svg", "path"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    names = {name for name, _ in read.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href", "srcset", "action", "data"}
    assert not re.search(
        r"url\(|@import|expression\(|javascript:", "".join(value or "" for _, value in read.attributes)
    )
    style = parsed(page).find("head/style")
    assert style is not None and not re.search(r"url\(|@import|http", style.text or "")
    assert ("http-equiv", "Content-Security-Policy") in read.attributes and ("content", POLICY) in read.attributes


def test_the_page_tells_everything_in_the_order_in_which_people_ask(tmp_path: Path, language: str) -> None:
    page = written(*records.full(tmp_path))
    is_self_contained(page)
    root = parsed(page)
    assert root.get("lang") == ("zh-CN" if language == "zh" else "en")
    order = ["compared", "curves", "samples", "card", "results", "making"]
    assert headings(page) == [t(f"page.{name}") for name in order]
    (main,) = root.findall("body/main")
    assert [child.tag for child in main][:2] == ["header", "section"]
    assert "outcome warned" in (main[1].get("class") or "")
    everything = said(page)
    for text, _ in records.WORDS:
        assert text in everything
    assert records.AFTER in everything and "更爱脸红了" in everything and "--add_epochs 1" in everything
    assert t("page.curves.chosen", epochs="2.5") in "".join(main[0].itertext())
    assert t("page.endless") in everything and t("page.no_answer") in everything
    assert "--rows_of_run 3" in everything and "4.40 → 3.07" in everything


def test_more_than_a_few_questions_are_a_tap_away(tmp_path: Path) -> None:
    history = History(tmp_path)
    for count, folded in ((4, 0), (5, 0), (6, 2), (7, 3)):
        page = written(history, records.begin(history, comparison=records.comparison(count).to_record(), training={}))
        assert len(parsed(page).findall(".//section/article")) == count - folded
        assert len(parsed(page).findall(".//details[@class='more']/article")) == folded


def test_the_page_of_a_record_without_anything_says_what_is_missing(tmp_path: Path) -> None:
    page = written(*records.bare(tmp_path))
    is_self_contained(page)
    everything = said(page)
    for key in ("no_card", "missing.card", "missing.comparison", "missing.samples", "missing.losses", "again.unknown"):
        assert t(f"page.{key}") in everything
    assert t("status.running") in everything
    assert headings(page) == [t("page.making"), t("page.missing")]


def test_without_validation_rows_the_page_says_what_can_not_be_known(tmp_path: Path) -> None:
    history = History(tmp_path)
    training = records.training(3.5, validated=False)
    page = written(history, records.begin(history, training=training))
    assert t("page.missing.val_losses") in said(page)
    first, last = (f"{training['losses'][at][1]:.3f}" for at in (0, -1))
    assert t("page.only_training_loss", first=first, last=last) in said(page)


def test_why_a_run_did_not_reach_its_end_stands_on_top(tmp_path: Path) -> None:
    history = History(tmp_path)
    error = {"key": "error.disk.full_somewhere", "values": {"path": "<b>/tmp"}}
    everything = said(written(history, records.begin(history, status="failed", error=error)))
    assert t("page.stopped") in everything and "<b>/tmp" in everything and t("status.failed") in everything
    crashed = records.begin(history, status="failed", error={"key": "RuntimeError('x')"})
    assert "RuntimeError('x')" in said(written(history, crashed))


def test_words_of_another_version_are_shown_as_the_record_has_them(tmp_path: Path) -> None:
    history = History(tmp_path)
    everything = said(
        written(history, records.begin(history, card=records.strange_card().to_record(), status="frozen"))
    )
    assert "made_up.learnt" in everything and "frozen" in everything
    assert re.search(r"made_up\.copied.{0,3}count 2.{0,2} ?of 10", everything)
    assert "--ollama_name linzhi --continue_train" in everything


def test_a_text_that_wants_other_values_than_the_record_has_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(tmp_path)
    for text in ("{lost}", "{count:.1f} {of:%}", "{0}", "{count.of}", "{of[0]}", "{"):
        monkeypatch.setitem(words._texts, "card.made_up.copied", text)
        values = {"count": "two", "of": None}
        judged = records.strange_card().to_record()
        judged["lines"] = [{"key": "made_up.copied", "mark": "plain", "values": values}]
        assert "count two" in said(written(history, records.begin(history, card=judged)))
    monkeypatch.setitem(words._texts, "card.made_up.copied", "copied {count:.1f}")
    assert "copied 2.0" in said(written(history, records.begin(history, card=records.strange_card().to_record())))


@pytest.mark.parametrize(
    ("verdict", "warns", "kind"),
    [
        ("learned", False, "good"),
        ("learned", True, "warned"),
        ("overfitted", False, "warned"),
        ("unseen", False, "unjudged"),
        ("made_up", False, "unjudged"),
        ("made_up", True, "warned"),
    ],
)
def test_the_verdict_has_its_colour_and_what_warns_stands_under_it(
    tmp_path: Path, verdict: str, warns: bool, kind: str
) -> None:
    history = History(tmp_path)
    judged = records.card(warns=warns, verdict=verdict).to_record()
    page = written(history, records.begin(history, card=judged))
    (outcome,) = parsed(page).findall("body/main/section[1]")
    assert outcome.get("class") == f"outcome {kind}"
    assert [len(found) for found in outcome.findall("ul[@class='warnings']")] == [1] * warns


def test_a_line_of_the_card_is_split_behind_what_it_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path)
    colon = "：" if words.knows("page.language") and t("page.language") == "zh-CN" else ": "
    for text, cells in ((f"about{colon}this{colon}that", ["about", f"this{colon}that"]), ("all of it", ["all of it"])):
        monkeypatch.setitem(words._texts, "card.made_up.copied", text)
        page = written(history, records.begin(history, card=records.strange_card().to_record()))
        (row,) = parsed(page).findall(".//table[@class='card']/tbody/tr")
        assert [cell.text for cell in row][1:] == cells


def test_a_part_in_another_form_is_named_and_the_rest_stands(tmp_path: Path) -> None:
    history = History(tmp_path)
    run = records.begin(history, card={"verdict": 1}, comparison=[1], training=records.training(2.0) | {"samples": 5})
    everything = said(written(history, run))
    for name in ("card", "compared", "samples"):
        assert t("page.unreadable", part=t(f"page.{name}")) in everything
    assert t("page.curves") in everything


def test_the_worst_texts_are_shown_and_do_nothing(tmp_path: Path) -> None:
    page = written(*records.hostile(tmp_path))
    is_self_contained(page)
    assert page.count("</style>") == page.partition("</head>")[0].count("</title>") == 1
    shown = said(page)
    assert shown.count("<script>alert(1)</script>") > 20
    assert "\x1b" not in page and "\ud83d" not in page and "\u2400\u2407\u241b" in page


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything=ANY_TEXT)
def test_any_text_in_any_place_makes_a_page_that_loads_nothing(tmp_path: Path, anything: str) -> None:
    history = History(tmp_path)
    asked: dict[str, Any] = records.comparison(1).to_record()
    asked["asked"][0]["after"]["text"] = asked["before"]["name"] = anything
    run = Run(tmp_path, {**_plain(), "note": anything, "comparison": asked, "system": anything})
    page = written(history, run)
    is_self_contained(page)
    parsed(page)


def _plain() -> dict[str, Any]:
    return {"schema": 2, "name": "linzhi", "number": 1, "status": "done", "stages": {}, "publications": []}


def test_older_records_have_a_page(tmp_path: Path) -> None:
    history = older_program(tmp_path).history
    first, second = history.runs("zzhua")
    page = written(history, second)
    is_self_contained(page)
    everything = said(page)
    assert t("page.no_card") in everything and t("page.run", number=1) in everything
    assert "--train_file" in everything and "8.62 → " in everything
    assert 'class="earlier"' in page and 'class="earlier' not in written(history, first)


def test_a_page_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history, run = records.full(tmp_path)
    path = write_report(history, run)
    assert path == run.folder / NAME and not list(run.folder.glob("*.new"))
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(history, run)
    assert path.read_bytes() == before and not list(run.folder.glob("*.new"))


def test_a_page_that_can_not_be_written_is_a_note(tmp_path: Path) -> None:
    history, run = records.full(tmp_path)
    (run.folder / NAME).mkdir()
    heard: list[Any] = []
    assert report_at_end(history, run, heard.append) is None
    (note,) = heard
    assert note.key == "note.page_not_written" and NAME in str(note.values["path"])
    assert t(note.key, **note.values).count(NAME) == 1


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("modelscope:Qwen/Qwen3-0.6B", "modelscope:Qwen/Qwen3-0.6B"),
        ("/home/secret name/模型 base.gguf", "模型 base.gguf"),
        ("C:\\Users\\secret\\base", "base"),
        ("/", "/"),
        ("C:\\", "C:\\"),
    ],
)
def test_a_base_model_on_this_machine_is_shown_without_where_it_lies(source: str, shown: str) -> None:
    assert base_name(source) == shown


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("data/train.jsonl", "data/train.jsonl"),
        ("/home/secret/我的 data/train.jsonl", "我的 data/train.jsonl"),
        ("D:\\secret\\data\\train.jsonl", "data/train.jsonl"),
        ("/train.jsonl", "train.jsonl"),
    ],
)
def test_a_file_of_dialogues_is_shown_without_where_its_folder_lies(path: str, shown: str) -> None:
    assert data_file(path) == shown


def test_values_of_a_record_are_said_without_brackets() -> None:
    comma = t("word.comma")
    values = {"curve": [3.18041234, 2], "none": None, "nested": {"at": 0.5, "word": "x"}}
    assert shortly(values) == comma.join(["curve 3.18", "2", "none -", "nested at 0.5", "word x"])

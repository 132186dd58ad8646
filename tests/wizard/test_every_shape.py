"""The conversations of an evening in both languages, on a terminal of 80 and one of 60 columns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.request import Request
from tests.support.character import Character, command_on, trained
from tests.support.project import ROOT
from tests.support.terminal import CLEAR, CTRL_C, ENTER, ESCAPE, Terminal
from tests.wizard.test_new_model import write_rows
from wizard.command_line import parse

pytestmark = [
    pytest.mark.posix,
    pytest.mark.parametrize("columns", [80, 60]),
    pytest.mark.parametrize("language", ["zh", "en"]),
]
TEXTS = {name: json.loads((ROOT / "wizard" / "texts" / f"{name}.json").read_text("utf-8")) for name in ("zh", "en")}
LONGEST = {"zh": 7, "en": 14}
"""Characters of a text that stand on one line even where it is broken."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("地方 place")) as character:
        write_rows(character.program.folder / "data", 87, val=14)
        write_rows(character.program.folder / "data" / "小店 shop", 8)
        yield character


class Speaker:
    """Waits for the program's texts in one language, by their keys."""

    def __init__(self, terminal: Terminal, language: str) -> None:
        self.terminal, self.language = terminal, language

    def begin(self, key: str) -> str:
        """The first words of a text, as far as they hold no value."""
        # a terminal of the tests shows no variation selectors
        text = TEXTS[self.language][key].replace("\ufe0f", "").partition("{")[0].strip()
        return text[: LONGEST[self.language]].strip()

    def hear(self, *keys: str) -> Speaker:
        for key in keys:
            self.terminal.wait_for(self.begin(key))
        return self

    def press(self, *keys: str) -> Speaker:
        self.terminal.send(*keys)
        return self

    def choose(self, key: str) -> Speaker:
        """Press the digit of the row with a text of the menu that stands on the screen, and Enter."""
        text = self.begin(key)
        self.terminal.wait_for(text) if text not in self.terminal.screen else None
        row = next(line for line in reversed(self.terminal.screen.split("\n")) if ") " in line and text in line)
        return self.press(row.partition(")")[0].strip(" »"), ENTER)

    def plan(self) -> Request:
        """The request that the command below the plan asks for."""
        self.hear("ask.review")
        return parse(command_on(self.terminal))


@contextmanager
def speaking(terminal: Terminal, language: str) -> Iterator[Speaker]:
    with terminal:
        yield Speaker(terminal, language)


def test_a_new_model_from_nothing_with_every_field_wrong_first(place: Character, language: str, columns: int) -> None:
    with speaking(place.talk(columns=columns, language=language), language) as say:
        say.hear("banner.about", "ask.data").choose("menu.data.other")
        say.hear("ask.data_path").press("/nosuch", ENTER).hear("ask.no_such_path").press(CLEAR, ENTER)
        say.hear("ask.empty").press(ESCAPE).hear("ask.data").press("1", ENTER)
        say.hear("ask.name").press(ENTER).hear("ask.empty").press("林栀", ENTER)
        say.terminal.wait_for("linzhi")
        say.press(CLEAR, "linzhi", ENTER).hear("ask.base_model_here").choose("menu.base.typed")
        say.hear("ask.base_model_text").press("./nosuch.gguf", ENTER)
        say.terminal.wait_for("✗ ")
        say.press(CLEAR, f"'{place.program.base}'", ENTER)
        request = say.plan()
        assert (request.ollama_name, request.epochs, request.base_model) == ("linzhi", 3.5, str(place.program.base))
        for line, question, out_of_range, no_number, said in (
            ("field.epochs", "ask.epochs", "0", "x", "ask.not_a_number"),
            ("field.learning_rate", "ask.learning_rate", "20", "x", "ask.not_a_number"),
            ("field.lora_rank", "ask.lora_rank", "0", "1.5", "ask.not_whole"),
        ):
            say.choose("menu.review.change").choose(line).hear(question).choose("ask.own_number")
            say.terminal.wait_for("? ").send(out_of_range, ENTER).wait_for("✗ ").send(CLEAR, no_number, ENTER)
            say.hear(said).press(ESCAPE).hear(question).press(ESCAPE, ESCAPE).hear("ask.review")
        say.choose("menu.review.change").choose("field.temperature").terminal.wait_for("? ").send(CLEAR, "99", ENTER)
        say.terminal.wait_for("✗ ")
        say.press(CLEAR, "0.4", ENTER)
        assert say.plan().temperature == 0.4
        say.choose("menu.review.cancel").hear("error.cancelled")
        assert say.terminal.finish() == 3
    assert not (place.program.history.home / "linzhi").exists()


def test_each_choice_and_each_strategy_of_a_model_that_is_there(place: Character, language: str, columns: int) -> None:
    with speaking(place.about(columns=columns, language=language), language) as say:
        say.choose("menu.exists.overwrite")
        assert say.plan().exists_choice == "overwrite"
        say.press(ESCAPE).choose("menu.exists.continue")
        for strategy, escapes, made in (
            ("incremental", 1, {"add_epochs": 1.5}),
            ("retune", 1, {"lora_rank": 16}),
            ("augment", 1, {"epochs": 5.0}),
            # its first question was answered above, and finds that answer
            ("custom", 3, {"epochs": 5.0, "learning_rate": 2e-4, "lora_rank": 8}),
        ):
            say.hear("ask.strategy").choose(f"strategy.{strategy}.title")
            for question in {"incremental": ("add_epochs",), "retune": ("preset",), "augment": ("epochs",)}.get(
                strategy, ("epochs", "learning_rate", "lora_rank")
            ):
                say.hear(f"ask.{question}").press(ENTER)
            request = say.plan()
            assert {name: getattr(request, name) for name in ("strategy", *made)} == {"strategy": strategy, **made}
            say.press(ESCAPE)
            for _ in range(escapes):
                say.terminal.settled().send(ESCAPE)
        say.hear("ask.strategy").press(ESCAPE).choose("menu.exists.skip").hear("note.skipped")
        assert say.terminal.finish() == 0


@pytest.mark.parametrize("leave", ["cancel", "Ctrl-C", "Esc"])
def test_leaving_at_the_first_question_changes_nothing(
    place: Character, language: str, columns: int, leave: str
) -> None:
    with speaking(place.about(columns=columns, language=language), language) as say:
        say.hear("menu.exists.cancel")
        say.choose("menu.exists.cancel") if leave == "cancel" else say.press(CTRL_C if leave == "Ctrl-C" else ESCAPE)
        say.hear("error.cancelled")
        assert say.terminal.finish() == 3
    assert len(place.program.history.runs(place.name)) == 1


def test_without_an_ollama_training_now_is_one_of_the_answers(place: Character, language: str, columns: int) -> None:
    nobody = {"OLLAMA_HOST": "127.0.0.1:9", "PATH": str(place.program.folder)}
    with speaking(place.talk(columns=columns, language=language, **nobody), language) as say:
        say.hear("ask.no_ollama").choose("menu.no_ollama.later").hear("ask.data").press(ESCAPE)
        say.hear("ask.no_ollama").choose("menu.no_ollama.leave").hear("error.cancelled")
        assert say.terminal.finish() == 3


def test_an_unfinished_run_is_the_first_row(place: Character, language: str, columns: int) -> None:
    history = place.program.history
    (done,) = history.runs(place.name)
    names = list(done.record)
    known = names[names.index("request") : names.index("beginning")]  # as the run began
    run = history.begin(place.name, **{name: done.record[name] for name in known})
    run.update(status="interrupted")
    try:
        with speaking(place.about(columns=columns, language=language), language) as say:
            say.hear("menu.unfinished.go_on", "menu.exists.cancel")
            (row,) = [line for line in say.terminal.screen.split("\n") if "»" in line]
            assert row.startswith(" » 0) ") and say.begin("menu.unfinished.go_on") in row
            say.press(ESCAPE)
            assert say.terminal.finish() == 3
    finally:
        shutil.rmtree(run.folder)


def test_data_that_changed_or_are_gone_are_told_with_the_ways_on(place: Character, language: str, columns: int) -> None:
    file = place.program.data / "train.jsonl"
    before = file.read_bytes()
    row = {"prompt": "新的？", "completion": "（笑）新的。"}
    file.write_bytes(before + (json.dumps(row, ensure_ascii=False) + "\n").encode())
    try:
        with speaking(place.about("--continue_train", columns=columns, language=language), language) as say:
            say.hear("note.data.changed", "ask.changed")
            for number, way in enumerate(("all", "warm", "same"), 1):
                say.terminal.wait_for(f"{number}) {say.begin(f'menu.changed.{way}')}"[:12])
            say.press("3", ENTER).hear("ask.strategy").press("1", ENTER).hear("ask.add_epochs").press(ENTER)
            assert say.plan().rows_of_run == 1
    finally:
        file.write_bytes(before)
    gone = place.program.data.rename(place.program.folder / "别处")
    try:
        with speaking(place.about("--continue_train", columns=columns, language=language), language) as say:
            say.hear("ask.data_gone").choose("menu.data_gone.rows").hear("ask.strategy").press(CTRL_C)
            assert say.terminal.finish() == 3
    finally:
        gone.rename(place.program.data)

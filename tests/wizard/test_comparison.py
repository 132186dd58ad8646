"""The comparison as it is met: by flags, leafed through at a terminal, looked up later; no line too wide for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.outcome.asked import Answer, Asked, Comparison, Question, Side
from pipeline.outcome.comparison.questions import ALWAYS
from pipeline.request import Request
from tests.support.character import Character, trained
from tests.support.terminal import CTRL_C, ENTER, ESCAPE, Terminal
from wizard import words
from wizard.screen.comparison import PLAIN, Marks, comparison_list, comparison_screen
from wizard.screen.layout import cells
from wizard.steps.comparison import wants_comparison

LEFT, RIGHT = "\x1b[D", "\x1b[C"
LONG = "（从书架后面探出半个头）我、我叫林栀……" * 30
ANSWERS = [
    ("您好！我是一个大型语言模型。", "（低头）我叫林栀。"),
    (LONG, LONG),
    ("word " * 300, "（点头）\n\n第二行\x1b[31m\t红"),
    ("x" * 400, ""),
    ("https://example.org/" + "a" * 100, "🙂" * 90),
]


def comparison(before: Side | None = None) -> Comparison:
    asked = [
        Asked(
            Question(ALWAYS["zh"] if number == 0 else "问" * 90, "always", "你是别人。" * 30 if number == 3 else None),
            None if number == 4 else Answer(first, number != 1, 5),
            Answer(second, True, 5),
        )
        for number, (first, second) in enumerate(ANSWERS)
    ]
    before = before or Side("base", "/home/somebody/models/a/very/long/path/Qwen2.5-0.5B-Instruct")
    return Comparison(before, Side("run", "linzhi", 4, 3.5), tuple(asked), 42, {"temperature": 0.7})


@pytest.fixture(autouse=True)
def chinese() -> Iterator[None]:
    yield
    words.use_language("zh")


# --- what is drawn


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("height", [16, 24, 50])
def test_a_question_with_both_answers_fits_its_screen(width: int, height: int, language: str) -> None:
    words.use_language(language)
    keys = words.t("compare.keys")
    for number in range(len(ANSWERS)):
        lines = comparison_screen("linzhi", comparison(), number, width, height, keys, Marks())
        assert max(map(cells, lines)) <= min(80, width)
        assert len(lines) <= height - (1 if width >= 60 else -4)
        assert not any(ord(character) < 32 for line in lines for character in line)
    listed = comparison_list("linzhi", comparison(), width, Marks())
    assert max(map(cells, listed)) <= min(80, width)
    assert "".join(listed).count("……") >= 60


def test_an_answer_that_is_cut_says_how_much_is_left_and_the_list_has_all_of_it() -> None:
    lines = comparison_screen("linzhi", comparison(), 1, 80, 24, "keys", Marks())
    more = [line for line in lines if "后面还有" in line]
    assert len(more) == 2
    whole = comparison_list("linzhi", comparison(), 80, Marks())
    start = next(number for number, line in enumerate(whole) if line.startswith(" 前   （从书架"))
    answer = whole[start][5:] + "".join(line[6:] for line in whole[start + 1 : start + 20])
    assert answer.startswith(LONG)
    # a short answer leaves its room to the long one
    short = comparison_screen("linzhi", comparison(), 2, 80, 24, "keys", Marks())
    assert sum(line.startswith("      word") or " word" in line[:12] for line in short) > 8


def test_the_head_says_who_answered() -> None:
    words.use_language("en")
    for before, said in (
        (Side("base", "Qwen/Qwen2.5-0.5B"), "before: base model Qwen/Qwen2.5-0.5B"),
        (Side("run", "linzhi", 3, 2.0), "before: run 3, 2.0 epochs"),
        (Side("ollama", "linzhi"), "before: linzhi in Ollama (not trained here)"),
    ):
        text = " ".join(comparison_screen("linzhi", comparison(before), 0, 80, 24, "keys", PLAIN))
        assert said in text and "after: run 4, 3.5 epochs" in text and "question 1 of 5" in text
    nobody = Comparison(None, Side("run", "linzhi", 4, 3.5), comparison().asked, 42)
    assert "before: nobody to ask" in " ".join(comparison_screen("linzhi", nobody, 4, 80, 24, "keys", PLAIN))


@pytest.mark.parametrize(
    ("flags", "scripted", "at_terminal"),
    [
        ({}, False, True),
        ({"compare": True}, True, True),
        ({"no_compare": True}, False, False),
        ({"yes": True}, False, False),
        ({"yes": True, "compare": True}, True, True),
        ({"register_only": True}, False, False),
        ({"register_only": True, "compare": True}, True, True),
    ],
    ids=str,
)
def test_scripts_compare_where_they_say_so_and_people_unless_they_dont(
    flags: dict[str, bool], scripted: bool, at_terminal: bool
) -> None:
    request = Request(ollama_name="zzhua", **flags)  # type: ignore[arg-type]
    assert (wants_comparison(request, False), wants_comparison(request, True)) == (scripted, at_terminal)


# --- through the command line


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("compared")) as found:
        yield found


def record(character: Character) -> dict:  # type: ignore[type-arg]
    run = character.program.history.newest(character.name)
    assert run is not None
    return run.record


def test_a_script_compares_only_where_it_says_so_and_before_it_publishes(character: Character) -> None:
    assert "comparison" not in record(character)
    (character.program.data / "questions.txt").write_text("# 我的\n今天星期几？\n", encoding="gb18030")
    flags = ("--ollama_name", character.name, "--continue_train", "--add_epochs", "1", "--yes", "--compare")
    told = character.program.run(*flags)
    found = record(character)
    compared = Comparison.from_record(found["comparison"])
    assert list(found["stages"]) == ["train", "export", "prove", "compare", "publish"]
    assert compared.before == Side("run", character.name, 1, 1.0) and compared.after.run == 2
    assert compared.asked[0].question.text == ALWAYS["zh"]
    assert compared.asked[-1].question == Question("今天星期几？", "file")
    assert all(one.before is not None and one.before.text for one in compared.asked)
    page = (character.program.history.newest(character.name).folder / "comparison.md").read_text("utf-8")  # type: ignore[union-attr]
    for one in compared.asked:
        assert one.question.text in told["shown"] and one.question.text in page
    assert told["shown"].index("Comparing before and after") < told["shown"].index("Publish in Ollama")
    assert "done before, kept" not in told["shown"]


def test_a_comparison_is_looked_up_again_without_asking_anybody(character: Character) -> None:
    name = ("--ollama_name", character.name)
    kept = record(character)["comparison"]
    told = character.program.run_bare(*name, "--compare_only")
    assert told["comparison"]["asked"] == kept["asked"] and told["run"] == 2
    assert ALWAYS["zh"] in told["shown"] and "Comparing before and after" not in told["shown"]
    # the first run has none yet
    told = character.program.run_bare(*name, "--compare_only", "--run", "1")
    assert told["comparison"]["before"]["kind"] == "base" and "Comparing before and after" in told["shown"]
    # and its card, which knew of no answers, knows of these
    assert told["card"]["facts"]["asked"] == len(told["comparison"]["asked"]) and "Next: " in told["shown"]
    missing = character.program.run_bare(*name, "--compare_only", "--run", "9", expect=2)
    assert missing["error"]["key"] == "error.no_such_run"


@pytest.mark.parametrize(("language", "columns"), [("zh", 80), ("en", 60)])
def test_a_person_leafs_asks_a_question_and_goes_on(character: Character, language: str, columns: int) -> None:
    zh = language == "zh"
    flags = ("--ollama_name", character.name, "--continue_train", "--add_epochs", "1", "--from_scratch")
    with character.talk(*flags, columns=columns, language=language) as terminal:
        terminal.wait_for("就这样" if zh else "Like this?").send(ENTER)
        first = "个问题，第 1 个" if zh else "question 1 of"
        terminal.wait_for(first).settled()
        assert all(cells(line) <= columns for line in terminal.screen.splitlines())
        terminal.send(RIGHT).wait_for("第 2 个" if zh else "question 2 of").send(LEFT).wait_for(first)
        terminal.send("i").wait_for("问它们什么" if zh else "ask them").send(ENTER).wait_for("✗ ")
        terminal.send("在哪里？", ENTER).wait_for("在哪里？").settled()
        where = re.search(r"(\d+) 个问题，第 (\d+) 个|question (\d+) of (\d+)", terminal.screen)
        assert where is not None and len(set(filter(None, where.groups()))) == 1, terminal.screen
        terminal.send("a").settled().send(ENTER).wait_for("comparison.md")
        terminal.wait_for("用新的吗" if zh else "Take the new one").settled().send("1", ENTER)
        terminal.wait_for("记一句" if zh else "A note").send(ENTER)
        assert terminal.finish() == 0, terminal.everything
    asked = Comparison.from_record(record(character)["comparison"]).asked
    assert asked[-1].question == Question("在哪里？", "typed") and asked[-1].before is not None
    assert record(character)["status"] == "done"


def test_esc_goes_on_and_ctrl_c_leaves(character: Character) -> None:
    with character.about("--compare_only") as terminal:
        terminal.wait_for("第 1 个").send(ESCAPE).wait_for("comparison.md")
        assert terminal.finish() == 0
    with character.about("--compare_only") as terminal:
        terminal.wait_for("第 1 个").send(CTRL_C)
        assert terminal.finish() == 3


def test_the_front_page_leads_to_it(character: Character) -> None:
    with Terminal(["-m", "wizard.home", "4", character.name], environment=character.program.environment) as terminal:
        terminal.wait_for("question 1 of", 60).send(ENTER)
        assert terminal.finish() == 0
    with Terminal(["-m", "wizard.home"], environment=character.program.environment) as terminal:
        terminal.wait_for("Your choice", 60).send("4", ENTER).wait_for("Which", 60).send("1", ENTER)
        terminal.wait_for("question 1 of", 60).send(ENTER).wait_for("goes back to", 60)
        terminal.send(ENTER).wait_for("Your choice", 60).send("0", ENTER)
        assert terminal.finish() == 0


def test_a_comparison_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(comparison().to_record()), "utf-8")
    assert Comparison.from_record(json.loads(path.read_text("utf-8"))) == comparison()

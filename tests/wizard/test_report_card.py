"""The report card on the screen: in 80 and 60 columns, in a pipe, in both languages."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_desk.counting.habits import PRIORITY
from pipeline.outcome.card import Card, Line, NextStep
from pipeline.outcome.report_card.report import make_card
from pipeline.outcome.report_card.warnings import WARNINGS
from tests.support.finished_runs import TAUGHT, UNSEEN, record, said
from tests.support.project import ROOT
from wizard import words
from wizard.screen import card as drawn
from wizard.screen.layout import cells
from wizard.screen.screen import BLOCKS, MARKS, PLAIN_BLOCKS, PLAIN_MARKS, STYLES, Screen

SIGNS = drawn.ScreenSigns(MARKS, STYLES, BLOCKS, True)
PLAIN = drawn.ScreenSigns(PLAIN_MARKS, STYLES, PLAIN_BLOCKS, False)
GOOD = make_card(record(), TAUGHT, said(*UNSEEN[:10]))
OVERFITTED = make_card(
    record(
        epochs=6.0,
        points=(1.0, 2.5, 6.0),
        val_losses=((0, 4.6), (1, 2.38), (2.5, 2.6), (6, 3.02)),
        general=(3.48, 4.2),
        number=4,
    ),
    TAUGHT,
    said(*TAUGHT[:7], UNSEEN[0], "我是 silly 的。", "你 here 呀。"),
    standing=record(number=3),
    previous=record(epochs=3.5, number=3),
)
UNASKED = make_card(record(rows=8, epochs=0.5, losses=(3.2, 3.19), val_losses=()), TAUGHT)
CARDS = {"good": GOOD, "overfitted": OVERFITTED, "unasked": UNASKED}


def lines(card: Card, width: int | None, signs: drawn.ScreenSigns = SIGNS) -> list[str]:
    return [line.plain for line in drawn.card_lines(card, "linzhi", 4, width, signs, tell_next=True)]


@pytest.fixture(params=words.LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    words.use_language(request.param)
    return str(request.param)


@pytest.mark.parametrize("width", [80, 60, 40, 100])
@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_nothing_is_wider_than_the_screen_but_the_command(card: Card, width: int, language: str) -> None:
    drawn_lines = lines(card, width)
    assert language in words.LANGUAGES
    assert [line for line in drawn_lines[:-1] if cells(line) > min(width, 80)] == []
    assert "--ollama_name linzhi" in drawn_lines[-1]


def test_a_good_card_is_a_head_and_a_line_for_each_fact() -> None:
    words.use_language("zh")
    told = lines(GOOD, 80)
    assert told[0].startswith("📋 linzhi 第 4 次训练   用时 26 分 40 秒") and told[0].endswith("结论：学会了")
    assert cells(told[0]) == cells(told[1]) == 80
    assert told[2:6] == [
        " · 验证损失  3.50 → 2.41，还在下降  █▄▂▁",
        " ✓ 没怎么忘  通用文字 3.48 → 3.51",
        " ✓ 会停下来  10/10",
        " ✓ 像不像    0/10 → 10/10，以（…）开头，教的对话里 100% 是这样",
    ]
    assert "下一步：放进 Ollama，和它聊几句" in told


def test_what_warns_stands_first_and_is_marked() -> None:
    words.use_language("zh")
    assert OVERFITTED.verdict == "overfitted"
    told = lines(OVERFITTED, 80)
    marked = [line[3:].split("  ")[0] for line in told if line.startswith(" ! ")]
    assert marked == ["忘得不少", "夹别的文字", "背答案"] and told[2].startswith(" ! ")
    assert any(line.startswith(" · 验证损失    第 1.0 轮最低 2.38，之后升到 3.02") for line in told)
    assert any("第 1 / 2.5 / 6 轮" in line for line in told)


def test_in_a_pipe_every_fact_is_a_whole_line(language: str) -> None:
    told = lines(OVERFITTED, None)
    assert len(told) == 1 + len(OVERFITTED.lines) + 3
    assert not any(line.startswith("─") for line in told) and language in words.LANGUAGES


def test_a_console_without_unicode_gets_plain_marks() -> None:
    words.use_language("en")
    told = lines(OVERFITTED, 80, PLAIN)
    assert told[0].startswith("linzhi") and set(told[1]) == {"-"} and told[2].startswith(" ! Forgets")


def test_a_menu_that_offers_the_next_step_is_not_repeated() -> None:
    words.use_language("en")
    told = [line.plain for line in drawn.card_lines(GOOD, "linzhi", 4, 80, SIGNS, tell_next=False)]
    assert not any("Ollama" in line for line in told)
    again = replace(GOOD, next_step=NextStep("fewer_epochs", {"rows": 8, "low": 5, "high": 8, "epochs": 6.5}, ("--x",)))
    told = [line.plain for line in drawn.card_lines(again, "linzhi", 4, 80, SIGNS, tell_next=False)]
    assert "Next: " in told[-2] and not any("--x" in line for line in told)


def test_the_screen_shows_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    words.use_language("zh")
    Screen().card(GOOD, "linzhi", 4)
    out = capsys.readouterr().out
    assert "结论：学会了" in out and "会停下来" in out and "下一步" in out


TEXTS = {name: json.loads((ROOT / f"wizard/texts/{name}.json").read_text("utf-8")) for name in words.LANGUAGES}
OTHERS = ("card.title", "card.took", "card.conclusion", "card.next")


@pytest.mark.parametrize("name", words.LANGUAGES)
def test_every_line_says_first_what_it_is_about(name: str) -> None:
    own = {key for key in TEXTS[name] if key.startswith("card.") and key not in OTHERS and key.count(".") == 1}
    colon = "：" if name == "zh" else ": "
    heads = {key: TEXTS[name][key].split(colon)[0] for key in own}
    assert [key for key, head in heads.items() if not 0 < cells(head) <= 18 or head == TEXTS[name][key]] == []
    assert {f"card.{key}" for key in WARNINGS} | {f"card.habit_{kind}" for kind in PRIORITY} <= own


def test_a_label_ends_at_the_first_colon_only() -> None:
    words.use_language("en")
    values = {"count": 2, "of": 10, "words": "a：b"}
    about, sentence = drawn.said(Line("letters", "warning", values))
    assert about == "Other letters" and sentence.endswith("a：b")


def test_a_step_without_a_command_is_told_alone() -> None:
    words.use_language("zh")
    kept = replace(GOOD, next_step=NextStep("keep"))
    assert lines(kept, 80)[-1] == "下一步：还用旧的，新的留在记录里"


def test_an_answers_markup_is_shown_as_it_is() -> None:
    words.use_language("zh")
    from rich.console import Console

    told = Line("letters", "warning", {"count": 2, "of": 10, "words": "[red]x[/red]"})
    stream = StringIO()
    console = Console(file=stream, width=80, markup=False)
    for line in drawn.card_lines(replace(GOOD, lines=(told,)), "linzhi", 4, 80, SIGNS, tell_next=False):
        console.print(line, soft_wrap=True)
    assert "[red]x[/red]" in stream.getvalue()


@given(
    training=st.lists(st.text(max_size=40), min_size=1, max_size=8),
    answers=st.lists(st.tuples(st.text(max_size=60), st.booleans()), max_size=6),
    rows=st.sampled_from([3, 30, 300]),
    epochs=st.sampled_from([0.5, 3.5, 60.0]),
    last=st.sampled_from([0.01, 1.0, 3.2]),
    val_losses=st.sampled_from([(), ((0, 3.0),), ((0, 3.0), (0.5, 2.0)), ((0, 3.0), (0.5, 2.0), (3.5, 4.0))]),
    general=st.sampled_from([None, (3.0, 3.0), (3.0, 4.0)]),
    kind=st.sampled_from([None, "base", "run", "ollama"]),
    points=st.sampled_from([(), (0.5, 3.5)]),
    rate=st.sampled_from([1e-5, 2e-4]),
)
@settings(deadline=None)
def test_whatever_came_out_the_card_can_be_drawn(
    training: list[str],
    answers: list[tuple[str, bool]],
    rows: int,
    epochs: float,
    last: float,
    val_losses: tuple[tuple[float, float], ...],
    general: tuple[float, float] | None,
    kind: str | None,
    points: tuple[float, ...],
    rate: float,
) -> None:
    run = record(
        rows=rows,
        epochs=epochs,
        losses=(3.2, last),
        val_losses=val_losses,
        general=general,
        points=points,
        learning_rate=rate,
    )
    comparison = said(*(text for text, _ in answers), before=[text for text, _ in answers] if kind else (), kind=kind)
    asked = [
        replace(one, after=replace(one.after, stopped=stopped))
        for one, (_, stopped) in zip(comparison.asked, answers, strict=True)
    ]
    made = make_card(run, training, replace(comparison, asked=tuple(asked)), standing=run, previous=run)
    for language in words.LANGUAGES:
        words.use_language(language)
        told = "\n".join(lines(made, 60))
        assert "card." not in told and "{" not in "".join(drawn.verdict(made) + drawn.step(made.next_step))

"""The report card: the verdict on trainings of every kind, its lines, and the one next step."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.outcome.asked import Answer, Comparison
from pipeline.outcome.card import Card, Line
from pipeline.outcome.report_card.report import make_card
from pipeline.outcome.report_card.taught import Taught
from pipeline.outcome.report_card.warnings import WARNINGS, is_too_many, preselected
from tests.support.finished_runs import BASE_SAYS, TAUGHT, UNSEEN, record, said
from wizard import words

GOOD = said(*UNSEEN[:10])
FLAGS = "--ollama_name linzhi --continue_train --strategy"


def line(card: Card, key: str) -> Line:
    """The one line with this key."""
    (found,) = [one for one in card.lines if one.key == key]
    return found


def flags(card: Card) -> str:
    return " ".join(card.next_step.flags)


def endless(comparison: Comparison, count: int) -> Comparison:
    """The first answers don't end and go on and on, each otherwise."""
    asked = [
        replace(one, after=Answer("".join(UNSEEN[at:] + UNSEEN[:at]), False, 300)) if at < count else one
        for at, one in enumerate(comparison.asked)
    ]
    return replace(comparison, asked=tuple(asked))


def test_a_good_run_has_learnt_and_goes_into_ollama() -> None:
    card = make_card(record(), TAUGHT, GOOD)
    assert card.verdict == "learned" and card.warnings == ()
    assert (card.next_step.key, flags(card)) == ("use", "--ollama_name linzhi --register_only --run 1")
    assert line(card, "validation_falling").values == {"first": 3.5, "last": 2.41}
    assert line(card, "stops") == Line("stops", "good", {"stopped": 10, "of": 10})
    assert line(card, "habit_begins_in_brackets").values["counts"] == "0/10 → 10/10"
    assert line(card, "remembers").mark == line(card, "length").mark == "good"
    assert (card.facts["stopped"], card.facts["copied"], card.facts["habits"][0]["after"]) == (10, 0, 10)


def test_what_is_in_ollama_already_is_talked_to() -> None:
    card = make_card({**record(), "publications": [{"digest": "x"}]}, TAUGHT, GOOD)
    assert (card.next_step.key, card.next_step.flags) == ("talk", ())


def test_sixty_epochs_on_eight_rows_are_too_many() -> None:
    eight = TAUGHT[:8]
    val_losses = ((0, 5.2), (4.5, 4.99), (60, 7.17))
    run = record(rows=8, epochs=60.0, losses=(3.2, 0.01), val_losses=val_losses, general=(3.48, 4.4))
    card = make_card(run, eight, said(*eight, *UNSEEN[:2]))
    assert card.verdict == "overfitted" and card.warnings == ("forgets", "copied")
    assert card.next_step.key == "fewer_epochs" and flags(card) == f"{FLAGS} augment --epochs 6.5"
    assert card.next_step.values == {"rows": 8, "low": 5.0, "high": 8.0, "epochs": 6.5}
    assert line(card, "loss_by_heart").values["last"] < 0.3
    assert line(card, "validation_risen").values == {"first": 5.2, "last": 7.17, "lowest": 4.99, "epochs": 4.5}
    assert line(card, "few_rows").values == {"rows": 8}
    # without answers it is seen by what is known by heart, and by what is forgotten
    assert make_card(run, eight).verdict == "overfitted"
    assert make_card({**run, "training": {**run["training"], "general_loss": None}}, eight).verdict == "overfitted"
    unmeasured = record(rows=8, epochs=60.0, losses=(3.2, 0.01), val_losses=(), general=None)
    assert make_card(unmeasured, eight).verdict == "overfitted"


def test_of_the_points_that_are_kept_the_last_that_suits_the_rows_is_looked_at_first() -> None:
    run = record(epochs=12.0, losses=(3.2, 0.4), points=(1.0, 2.5, 4.0, 6.0, 12.0))
    card = make_card(run, TAUGHT, said(*TAUGHT[:3], *UNSEEN[:7]))
    assert card.verdict == "overfitted" and card.next_step.key == "choose_point"
    assert card.next_step.values == {"points": "1 / 2.5 / 4 / 6 / 12", "point": 4.0}
    assert flags(card).endswith("--register_only --run 1 --point 4")
    # an early point of the same run is looked at by itself
    early = make_card(run, TAUGHT, GOOD, point={"step": 88, "epochs": 4.0})
    assert early.verdict == "learned" and early.facts["epochs"] == 4.0


def test_of_the_shorter_rungs_of_its_ladder_the_longest_that_suits_the_rows_is_looked_at_first() -> None:
    run = {**record(epochs=12.0, losses=(3.2, 0.4)), "number": 5}
    copied = said(*TAUGHT[:3], *UNSEEN[:7])
    rungs = [(1.0, 1), (2.5, 2), (4.0, 3), (6.0, 4)]
    card = make_card(run, TAUGHT, copied, rungs=rungs)
    assert card.verdict == "overfitted" and card.next_step.key == "choose_rung"
    assert card.next_step.values == {"rungs": "1 / 2.5 / 4 / 6", "epochs": 4.0, "number": 3}
    assert flags(card) == "--ollama_name linzhi --register_only --run 3"
    # where all of them are longer than is advised, the shortest
    assert flags(make_card(run, TAUGHT, copied, rungs=rungs[3:])).endswith("--run 4")
    # what stands already needs no command
    kept = make_card(run, TAUGHT, copied, rungs=rungs, standing={**record(epochs=4.0), "number": 3})
    assert (kept.next_step.key, kept.next_step.flags) == ("keep", ())
    # a good rung has no use for shorter ones
    assert make_card(run, TAUGHT, GOOD, rungs=rungs).next_step.key == "use"


def test_copies_after_few_epochs_want_other_dialogues() -> None:
    card = make_card(record(), TAUGHT, said(*TAUGHT[:4], *UNSEEN[:6]))
    assert card.verdict == "overfitted" and card.next_step.key == "more_data"
    assert flags(card) == "--ollama_name linzhi --continue_train"


@pytest.mark.parametrize(
    ("run", "key", "command"),
    [
        (record(epochs=0.5, val_losses=((0, 3.5), (0.5, 3.4))), "more_epochs", f"{FLAGS} incremental --add_epochs 3"),
        (record(epochs=2.0), "more_epochs", f"{FLAGS} incremental --add_epochs 1.5"),
        (record(rows=8, epochs=2.0), "augment_few", f"{FLAGS} augment --epochs 6.5"),
        (
            record(epochs=2.0, learning_rate=1e-5),
            "higher_rate",
            f"{FLAGS} retune --learning_rate 2e-4 --lora_rank 8 --epochs 3",
        ),
        (record(epochs=5.0), "higher_rank", f"{FLAGS} retune --learning_rate 2e-4 --lora_rank 16 --epochs 5"),
    ],
)
def test_too_little_wants_more_epochs_or_a_rate_that_moves_something(run: Any, key: str, command: str) -> None:
    card = make_card(run, TAUGHT, said(*BASE_SAYS * 4))
    assert (card.verdict, card.next_step.key, flags(card)) == ("too_little", key, command)


def test_answers_that_lack_the_habit_are_too_little_be_they_other_ones_than_before() -> None:
    lacking = [answer.partition("）")[2] for answer in UNSEEN[:10]]
    assert make_card(record(epochs=1.0), TAUGHT, said(*lacking)).verdict == "too_little"


def test_data_without_a_habit_are_judged_by_what_has_changed_and_how_long_was_trained() -> None:
    plain = [answer.partition("）")[2] for answer in TAUGHT]
    other = [answer.partition("）")[2] for answer in UNSEEN[:10]]
    assert Taught(plain).habits == ()
    assert make_card(record(), plain, said(*BASE_SAYS * 4)).verdict == "too_little"
    assert make_card(record(), plain, said(*other)).verdict == "learned"
    short = record(epochs=0.5, val_losses=((0, 3.5), (0.5, 3.4)))
    assert make_card(short, plain, said(*other)).verdict == "too_little"
    assert make_card(record(losses=(3.2, 3.1)), plain, said(*other)).verdict == "too_little"


def test_a_model_that_was_like_them_before_and_is_no_more_is_worse() -> None:
    now = said(*BASE_SAYS * 4, before=UNSEEN[:10], kind="run")
    card = make_card(record(), TAUGHT, now)
    assert (card.verdict, card.next_step.key, card.next_step.flags) == ("worse", "keep", ())
    published = make_card({**record(), "publications": [{"digest": "x"}]}, TAUGHT, now)
    assert (published.next_step.key, flags(published)) == ("back", "--ollama_name linzhi --rollback")


def test_a_model_that_never_ends_is_trained_from_the_base_model() -> None:
    card = make_card(record(), TAUGHT, endless(GOOD, 9))
    assert card.verdict == "does_not_stop" and card.warnings == ("endless",)
    assert line(card, "endless").values == {"stopped": 1, "of": 10}
    assert (card.next_step.key, flags(card)) == ("from_base", "--ollama_name linzhi --force --epochs 3.5")


def test_a_base_model_that_talks_on_and_on_and_has_learnt_nothing_is_trained_too_little() -> None:
    comparison = said(*BASE_SAYS * 4)
    talkative = Answer("。".join(BASE_SAYS * 2), False, 300)
    asked = [replace(one, before=talkative, after=talkative) for one in comparison.asked[:8]]
    card = make_card(record(epochs=0.5), TAUGHT, replace(comparison, asked=(*asked, *comparison.asked[8:])))
    assert card.verdict == "too_little" and "endless" in card.warnings
    # before, it ended
    asked = [replace(one, before=comparison.asked[0].before) for one in asked]
    card = make_card(record(epochs=0.5), TAUGHT, replace(comparison, asked=(*asked, *comparison.asked[8:])))
    assert card.verdict == "does_not_stop"


def test_a_few_answers_that_go_round_in_circles_want_other_dialogues_or_fewer_epochs() -> None:
    circles = [f"（笑）{UNSEEN[0]}" + "你呢？我不知道。" * 20] * 2
    comparison = said(*circles, *UNSEEN[:8])
    looping = tuple(
        replace(one, after=replace(one.after, stopped=False)) if at < 2 else one
        for at, one in enumerate(comparison.asked)
    )
    card = make_card(record(), TAUGHT, replace(comparison, asked=looping))
    assert set(card.warnings) == {"repeats", "endless"} and card.next_step.key == "more_data"
    long = make_card(record(epochs=9.0), TAUGHT, replace(comparison, asked=looping))
    assert flags(long) == f"{FLAGS} augment --epochs 3.5"


def test_an_answer_that_is_cut_where_taught_ones_go_on_tells_nothing() -> None:
    cut = tuple(replace(one, after=Answer(one.after.text[:12], False, 12)) for one in GOOD.asked)
    card = make_card(record(), TAUGHT, replace(GOOD, asked=cut))
    assert (card.facts["stopped"], card.facts["endless"]) == (0, 0) and "endless" not in card.warnings


def test_a_habit_that_holds_now_and_then_is_nearly_there() -> None:
    some = [answer if at < 6 else answer.partition("）")[2] for at, answer in enumerate(UNSEEN[:10])]
    card = make_card(record(epochs=2.0), TAUGHT, said(*some))
    assert (card.verdict, card.next_step.key) == ("nearly", "augment")
    assert flags(card) == f"{FLAGS} augment --epochs 3.5"
    later = make_card(record(epochs=4.0), TAUGHT, said(*some))
    assert flags(later) == f"{FLAGS} retune --learning_rate 1e-4 --lora_rank 16 --epochs 4"


@pytest.mark.parametrize("held", [8, 9, 10])
def test_of_ten_answers_eight_nine_and_ten_are_the_same(held: int) -> None:
    some = [answer if at < held else answer.partition("）")[2] for at, answer in enumerate(UNSEEN[:10])]
    card = make_card(record(), TAUGHT, said(*some))
    assert card.verdict == "learned"
    assert line(card, "how_sure").values == {"of": 10, "less": 9, "apart": 5}


def test_two_questions_show_no_difference() -> None:
    card = make_card(record(), TAUGHT, said(*UNSEEN[:2]))
    assert line(card, "hardly_asked").values == {"of": 2}


def test_short_answers_want_more_epochs() -> None:
    card = make_card(record(), TAUGHT, said(*(f"（笑）{at}。" for at in range(10))))
    assert card.verdict == "learned" and line(card, "length").mark == "plain"
    assert flags(card) == f"{FLAGS} incremental --add_epochs 1.5"


def test_a_rising_validation_loss_alone_is_told_and_judges_nothing() -> None:
    run = record(epochs=6.0, val_losses=((0, 4.6), (1, 3.93), (2, 3.96), (4, 4.73), (6, 5.40)))
    for comparison, verdict in ((GOOD, "learned"), (None, "unseen")):
        card = make_card(run, TAUGHT, comparison)
        assert card.verdict == verdict
        assert line(card, "validation_risen").mark == "plain"


def test_without_answers_what_isnt_known_is_said() -> None:
    card = make_card(record(val_losses=()), TAUGHT)
    assert card.verdict == "unseen" and {"no_validation", "not_asked", "loss"} <= {one.key for one in card.lines}
    assert flags(card) == "--ollama_name linzhi --register_only --run 1 --compare"
    assert make_card(record(), TAUGHT, replace(GOOD, asked=())).verdict == "unseen"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({}, "standing_lower"),
        ({"system": "你是别人。"}, "standing_other_words"),
        ({"base": {"source": "another", "revision": "1"}}, "standing_other_base"),
        ({"data": "val_file"}, "standing_other_rows"),
    ],
)
def test_the_validation_loss_is_held_against_what_stands_where_it_can_be(change: dict[str, Any], key: str) -> None:
    standing = record(number=7, rows=64, val_losses=((0, 3.5), (2, 2.77)))
    if "data" in change:
        standing["data"]["files"]["data/val.jsonl"]["sha256"] = "another"
    else:
        standing |= change
    assert line(make_card(record(), TAUGHT, standing=standing), key).values["number"] == 7


def test_how_this_run_differs_from_the_last_one_is_said() -> None:
    previous = record(rows=64, epochs=2.0, learning_rate=1e-4, lora_rank=16)
    card = make_card(record(), TAUGHT, previous=previous)
    told = {one.key: (one.values["before"], one.values["now"]) for one in card.lines if one.key.startswith("changed")}
    assert told == {
        "changed_epochs": (2.0, 3.5),
        "changed_rate": ("1e-4", "2e-4"),
        "changed_rank": (16, 8),
        "changed_data": (64, 87),
    }
    assert not [one for one in make_card(record(), TAUGHT, previous=record()).lines if one.key.startswith("changed")]


def test_the_answer_to_a_taught_question_is_no_copy() -> None:
    comparison = said(*TAUGHT[:10])
    assert make_card(record(), TAUGHT, comparison).facts["copied"] == 10
    known = {f"第{at}个问题" for at in range(6)}
    facts = make_card(record(), TAUGHT, comparison, questions_taught=known).facts
    assert (facts["copied"], facts["untaught"]) == (4, 4)


def test_what_a_song_repeats_is_as_it_was_taught() -> None:
    song = [f"（唱）{sign}呀{sign}，月儿弯弯照九州。" * 3 for sign in "山水花鸟风雪星云"]
    card = make_card(record(), song, said(*(f"（唱）{sign}呀{sign}，船儿摇摇到桥头。" * 3 for sign in "雨月灯门")))
    assert card.facts["repeating"] == 4 and "repeats" not in card.warnings


def test_where_an_answer_is_taught_to_several_questions_to_give_it_to_one_more_is_no_copy() -> None:
    thrice = [text for text in TAUGHT for _ in range(3)]
    assert (Taught(TAUGHT).recurring, Taught(thrice).recurring) == (0.0, 1.0)
    assert Taught(["a", "b", "c", "C!"]).recurring == 0.5
    answers = said(*TAUGHT[:10])
    assert "copied" in make_card(record(), TAUGHT, answers).warnings
    told = make_card(record(losses=(3.2, 0.2)), thrice, answers)
    assert "copied" not in told.warnings and told.verdict == "learned" and told.facts["copied"] == 10


@pytest.mark.parametrize(
    ("device", "said_of"),
    [("cpu", "内存：最多用了 3.9 GB"), ("cuda", "显存：最多用了 3.9 GB"), ("mps", "内存：最多用了 3.9 GB")],
)
def test_the_most_memory_is_told_of_the_device_that_has_it(device: str, said_of: str) -> None:
    run = record()
    run["training"] |= {"device": device, "peak_memory": 3_876_543_210}
    card = make_card(run, TAUGHT, GOOD)
    assert card.facts["peak_memory"] == 3_876_543_210
    last = card.lines[-1]
    words.use_language("zh")
    assert words.t(f"card.{last.key}", **last.values) == said_of
    assert not [one for one in make_card(record(), TAUGHT, GOOD).lines if one.key.startswith("memory")]


def test_a_card_is_kept_in_a_record_whole() -> None:
    for comparison in (GOOD, None):
        card = make_card(record(points=(1.0, 3.5)), TAUGHT, comparison, standing=record(), previous=record())
        assert Card.from_record(json.loads(json.dumps(card.to_record()))) == card


def test_an_older_record_has_a_card_too() -> None:
    run = record()
    del run["training"]["seconds"], run["training"]["general_loss"], run["warm_start"]
    run["training"]["val_losses"] = []
    assert make_card(run, TAUGHT, GOOD).verdict == "learned"


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([()], 0),
        ([(), (), ()], 2),
        ([(), (), ("letters",)], 1),
        ([(), ("copied",), ("letters", "forgets")], 0),
        ([("endless",), ("copied",), ("letters",)], 2),
        ([(), ("habit_begins", "validation_risen")], 1),
    ],
)
def test_the_last_point_is_taken_or_the_latest_without_a_warning(points: list[tuple[str, ...]], index: int) -> None:
    assert preselected(points) == index


@given(st.lists(st.sets(st.sampled_from([*WARNINGS, "stops"])), min_size=1))
def test_no_point_without_a_warning_is_later_than_the_one_that_is_taken(points: list[set[str]]) -> None:
    taken = preselected(points)
    assert all(found & set(WARNINGS) for found in points[taken + 1 :])
    assert not points[taken] & set(WARNINGS) or all(found & set(WARNINGS) for found in points)


def test_a_single_answer_warns_of_nothing() -> None:
    assert not is_too_many(1, 2, 0.1) and is_too_many(2, 10, 0.1) and not is_too_many(2, 10, 0.2)
    assert not is_too_many(2, 20, 0.1) and is_too_many(3, 20, 0.1)

"""What a model is asked for, what of its words becomes a draft, and which drafts are never shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data_desk.counting.situations import SITUATIONS
from data_desk.opened import Opened
from lora_trainer.chat_format import Message
from lora_trainer.data.dataset import load_dataset
from pipeline.chat import Heard, Tried
from pipeline.desk.changes import Backups, add_dialogue, change_turn
from pipeline.desk.drafting.bare import bare_answer, bare_line
from pipeline.desk.drafting.drafting import Draft, Drafting, Useless, can_draft
from pipeline.desk.drafting.examples import CHARACTERS, MOST, Example, choose, examples_in
from pipeline.desk.drafting.requests import WORDS
from pipeline.desk.files import open_files
from pipeline.outcome.asked import Answer
from tests.data_desk.rows import opened, row

SYSTEM = "你是林栀。"
ROWS = [row(f"那个{thing}呢", f"（看着{thing}）{thing}在这里。", system=SYSTEM) for thing in "灯伞信猫茶雨书门"]


class Scripted:
    """A model that says one text after the other, and notes what it was asked."""

    counts = True
    system = ""
    parameters: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, *texts: str | Answer, context: int = 4096) -> None:
        self._texts, self._context = list(texts), context
        self.asked: list[tuple[list[Message], Tried, int]] = []

    def answer(self, turns: Sequence[Message], tried: Tried, seed: int, _: Heard) -> Answer:
        self.asked.append((list(turns), tried, seed))
        said = self._texts.pop(0)
        return said if isinstance(said, Answer) else Answer(said, True, len(said))

    def context(self, _: Tried) -> int:
        return self._context

    def tokens(self, turns: Sequence[Message], tried: Tried) -> int:
        return len(tried.system or "") + sum(len(turn["content"]) for turn in turns)

    def close(self) -> None:
        """Nothing was opened."""


def drafted(at: Opened, *texts: str | Answer, count: int = 1, seed: int = 1) -> tuple[list[Draft], Scripted]:
    model = Scripted(*texts)
    drafting = Drafting(model, at, seed)
    return [drafting.next() for _ in range(count)], model


@pytest.fixture
def desk(tmp_path: Path) -> Opened:
    return opened(tmp_path, ROWS)


# --- examples


def test_examples_are_few_and_short_and_the_same_by_the_same_seed(tmp_path: Path) -> None:
    rows = [row(f"问{at}" + "啊" * 60, f"答{at}" + "嗯" * 200) for at in range(30)]
    found = examples_in(opened(tmp_path, rows).train, None)
    chosen = [choose(found, seed) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(1 <= len(some) <= MOST and sum(one.size for one in some) <= CHARACTERS for some in chosen)
    assert len(choose([Example(f"{at}", "a") for at in range(30)], 1)) == MOST


def test_examples_are_the_users_own_rows_under_the_common_system_prompt_and_their_learnt_answers(
    tmp_path: Path,
) -> None:
    unlearnt = row("四", "不学的", system=SYSTEM)
    unlearnt["messages"][2]["weight"] = 0  # type: ignore[index]
    rows = [
        row("一", "自己的", "再说", "后来的", system=SYSTEM),
        row("二", "别人的", system="你是小雨。"),
        row("三", "起草的", system=SYSTEM, source="drafted"),
        {"messages": [*unlearnt["messages"], *row("五", "学的")["messages"]]},  # type: ignore[misc]
        row("六", "没有系统提示词的"),
        row("七", "长" * 400, system=SYSTEM),
    ]
    assert examples_in(opened(tmp_path, rows).train, SYSTEM) == [
        Example("一", "自己的"),
        Example("六", "没有系统提示词的"),
    ]


def test_where_all_rows_are_long_the_shortest_one_is_the_example(tmp_path: Path) -> None:
    rows = [row(f"问{at}", "长" * (2000 - at)) for at in range(3)]
    found = examples_in(opened(tmp_path, rows).train, None)
    assert choose(found, 1) == [Example("问2", "长" * 1998)]


def test_without_a_row_of_ones_own_nothing_can_be_drafted(tmp_path: Path) -> None:
    assert can_draft(opened(tmp_path / "own", [row("一", "二")]))
    assert not can_draft(opened(tmp_path / "drafted", [row("一", "二", source="drafted")]))


# --- what is asked


def test_the_missing_situations_are_asked_for_first_one_a_draft_and_then_freely(desk: Opened) -> None:
    missing = desk.statistics.missing
    assert len(missing) == 5
    texts = [text for at in range(6) for text in (f"第{at}句完全不同的话{at * 7919}", f"回答{at * 104729}号")]
    drafts, model = drafted(desk, *texts, count=6)
    assert [draft.situation for draft in drafts] == [*missing, None]
    asked = [turns[-1]["content"] for turns, _, _ in model.asked[::2]]
    words = WORDS["zh"]
    assert asked == [words.about.format(what=words.situations[name]) for name in missing] + [words.another]


def test_the_answer_is_asked_for_under_the_rows_system_prompt_with_rows_as_real_turns(desk: Opened) -> None:
    (draft, *_), model = drafted(desk, "你好呀", "（抬头）你好。")
    assert (draft.line, draft.answer) == ("你好呀", "（抬头）你好。")
    (line, about_line, first), (answer, about_answer, second) = model.asked
    assert about_line.system is not None and SYSTEM in about_line.system and first != second
    assert about_answer.system == SYSTEM
    assert [turn["role"] for turn in answer] == ["user", "assistant"] * MOST + ["user"]
    pairs = {tuple(m["content"] for m in each["messages"][1:]) for each in ROWS}  # type: ignore[index]
    given = [turn["content"] for turn in answer]
    assert set(zip(given[:-1:2], given[1::2], strict=True)) <= pairs and given[-1] == "你好呀"
    assert [turn["content"] for turn in line[1::2]] == given[:-1:2]


def test_a_situation_of_the_characters_is_told_to_the_character_too(desk: Opened) -> None:
    texts = [text for at in range(4) for text in (f"第{at}句完全不同的话{at * 7919}", f"回答{at * 104729}号")]
    _, model = drafted(desk, *texts, count=4)
    told = [tried.system for _, tried, _ in model.asked[1::2]]
    manners = WORDS["zh"].manners
    assert told == [SYSTEM, SYSTEM, f"{SYSTEM}\n\n{manners['refusal']}", f"{SYSTEM}\n\n{manners['not_knowing']}"]


def test_rows_in_english_are_asked_for_in_english_and_without_a_system_prompt_none_is_sent(tmp_path: Path) -> None:
    desk = opened(tmp_path, [row(f"Where is the {thing}?", f"Arrr, the {thing} be here!") for thing in ("map", "rum")])
    _, model = drafted(desk, "Hello parrot!", "Arrr, hello!")
    assert model.asked[0][1].system == WORDS["en"].writer and model.asked[1][1].system == ""
    assert "says hello" in model.asked[0][0][-1]["content"]


def test_a_small_context_takes_fewer_examples_and_never_the_line_itself(tmp_path: Path) -> None:
    desk = opened(tmp_path, [row(f"那个{thing}呢", thing * 100) for thing in "灯伞信猫茶雨书门"])
    model = Scripted("你好呀", "（抬头）你好。", context=500)
    Drafting(model, desk, 1).next()
    turns = model.asked[1][0]
    assert turns[-1]["content"] == "你好呀" and 1 <= len(turns) < 2 * MOST + 1


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_every_situation_has_words_for_the_model(words: Any) -> None:
    assert set(words.situations) == {situation.name for situation in SITUATIONS}
    assert set(words.manners) == {situation.name for situation in SITUATIONS if situation.by == "assistant"}


# --- what comes of it


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("你在吗", "你在吗"),
        ("<think>用户会说什么呢\n嗯</think>\n\n你在吗", "你在吗"),
        ("想好了</think>你在吗", "你在吗"),
        ("<think>想到一半", ""),
        ("“你在吗”", "你在吗"),
        ('"「你在吗」"', "你在吗"),
        ("“你”和“我”", "“你”和“我”"),
        ("用户：你在吗", "你在吗"),
        ("**User:** are you there", "are you there"),
        ("好的，这是一句：\n你在吗", "你在吗"),
        ("1. 你在吗\n2. 你好", "你在吗"),
        ("- 你在吗", "你在吗"),
        ("3.5块钱够吗", "3.5块钱够吗"),
        ("你在吗\n角色：在的", "你在吗"),
        ("  \n", ""),
        ("听我说：", "听我说："),
        ("用户：", ""),
    ],
)
def test_of_what_a_model_says_the_users_line_is_left(said: str, line: str) -> None:
    assert bare_line(said, ["别的话"]) == line


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("（点头）在的。\n\n怎么了？", "（点头）在的。\n\n怎么了？"),
        ("Assistant: （点头）在的。\nUser: 好", "（点头）在的。"),
        ("听我说：\n别走。", "听我说：\n别走。"),
        ("「在的。」", "在的。"),
        ("<think></think>在的。", "在的。"),
    ],
)
def test_of_what_a_model_says_the_characters_answer_is_left(said: str, answer: str) -> None:
    assert bare_answer(said, ["（看着灯）在这里。"]) == answer


def test_a_character_who_speaks_in_quotation_marks_keeps_them() -> None:
    assert bare_answer("“在的。”", ["“嗯。”", "“好。”", "不。"]) == "“在的。”"


UNFINISHED = Answer("话" * 500, False, 512)


@pytest.mark.parametrize(
    ("bad", "key"),
    [
        (["", "<think>嗯", "“”"], "empty"),
        (["那个灯呢", "那个灯呢？", "那个伞呢"], "known"),
        (["你好<|im_end|>", "<start_of_turn>user\n你好", "再见</s>"], "control_token"),
        ([UNFINISHED] * 3, "unfinished"),
    ],
    ids=str,
)
def test_what_is_not_worth_showing_is_made_again_and_told_after_three_tries(
    desk: Opened, bad: list[Any], key: str
) -> None:
    (draft,), _ = drafted(desk, bad[0], bad[1], "你好呀", "（抬头）你好。")
    assert draft.line == "你好呀"
    with pytest.raises(Useless) as told:
        drafted(desk, *bad)
    assert told.value.key == f"error.draft.{key}" and told.value.values == {"tries": 3}


def test_an_answer_that_is_not_worth_showing_is_asked_for_with_another_line(desk: Opened) -> None:
    (draft,), model = drafted(desk, "第一句", "", "你好呀", "（抬头）你好。")
    assert draft == Draft("你好呀", "（抬头）你好。", "greeting") and len(model.asked) == 4


@pytest.mark.parametrize("where", ["train", "val"])
def test_a_draft_that_is_nearly_a_row_is_made_again(tmp_path: Path, where: str) -> None:
    long = "今天下雨了，我把窗边的书往里面挪了挪，你要不要进来坐一会儿"
    files = {"train": ROWS, "val": [row("别的", "别的")]}
    files[where] = [*files[where], row("讲讲", long)]
    desk = opened(tmp_path, files["train"], files["val"])
    (draft,), _ = drafted(desk, "说说看", long + "呀", "你好呀", "（抬头）你好。")
    assert draft.line == "你好呀"


def test_what_was_thrown_away_does_not_come_again(desk: Opened) -> None:
    texts = ["今天的天气怎么样", "（抬头）晴。", "今天的天气怎么样呀", "我先回家去了", "（挥手）嗯。"]
    drafts, _ = drafted(desk, *texts, count=2)
    assert [draft.line for draft in drafts] == ["今天的天气怎么样", "我先回家去了"]


def test_another_seed_shows_other_examples(desk: Opened) -> None:
    def shown(seed: int) -> list[Message]:
        return drafted(desk, "你好呀", "（抬头）你好。", seed=seed)[1].asked[1][0]

    assert shown(1) == shown(1) != shown(2)


# --- the row


def test_a_drafted_row_is_marked_counted_and_keeps_its_mark_when_it_is_changed(desk: Opened) -> None:
    backups, messages = Backups(), Draft("你好呀", "（抬头）你好。").messages
    add_dialogue(desk, messages, backups, source="drafted")
    now = open_files(desk.files)
    assert not now.findings and now.statistics.drafted == 1 and now.train[-1].source == "drafted"
    change_turn(now, 9, 2, "（抬头）你好啊。", backups)
    last = desk.files.train.read_text(encoding="utf-8").splitlines()[-1]
    assert re.fullmatch(r'\{"messages": \[.*"（抬头）你好啊。"\}\], "source": "drafted"\}', last)


def test_the_mark_makes_no_other_data_of_the_rows(tmp_path: Path) -> None:
    found = []
    for mark in ({}, {"source": "drafted"}):
        opened(tmp_path, [row("一", "二", **mark)])
        found.append(load_dataset(tmp_path))
    assert found[0].fingerprint == found[1].fingerprint
    assert [finding.key for finding in found[0].findings] == [finding.key for finding in found[1].findings]

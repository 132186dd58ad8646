"""Answers are put right in a real terminal, key by key, and trained on when the conversation is left."""

from __future__ import annotations

import pytest

from tests.support.terminal import CLEAR, CTRL_C, ENTER, ESCAPE, Terminal
from tests.wizard.chat.conftest import Talking
from tests.wizard.chat.test_lessons import rows, told
from tests.wizard.chat.test_terminal import start
from wizard.screen.layout import cells

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")

NEW_LINE = "\x1b\r"
NOTED = {"zh": "记下了", "en": "Noted:"}


def asked(seen: Terminal, question: str = "你好") -> Terminal:
    return seen.send(question, ENTER).wait_for("it…（").wait_for("\n>")


def taught(seen: Terminal, answer: str, language: str = "zh") -> Terminal:
    """The last answer is put right, whatever it was."""
    seen.send("/fix", ENTER).wait_for("改成>" if language == "zh" else "better>")
    return seen.send(CLEAR, answer, ENTER).wait_for(NOTED[language]).wait_for("\n>")


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("columns", [60, 80])
def test_the_answer_stands_in_the_line_to_be_changed_and_nothing_is_wider_than_the_terminal(
    unregistered: Talking, columns: int, language: str
) -> None:
    mark = {"zh": "改成>", "en": "better>"}[language]
    words = {
        "zh": ("没有改。", "这一句已经记下了", "收回了", "改了 1 条，留了 0 条"),
        "en": ("Not changed.", "Noted already", "Taken back", "1 corrected, 0 kept"),
    }[language]
    with start(unregistered, language=language, columns=columns) as seen:
        asked(seen.wait_for("\n>"))
        seen.send("/fix", ENTER).wait_for(f"{mark} it…（")
        seen.send("（笑）", NEW_LINE, "第二行", ENTER).wait_for(NOTED[language]).wait_for("\n>")
        asked(seen, "再来")
        seen.send("/fix", ENTER).wait_for(f"{mark} it…（").send("x", ESCAPE).wait_for(words[0]).wait_for("\n>")
        seen.send("/fix", ENTER).wait_for(f"{mark} it…（").send("x", CTRL_C).wait_for(words[0]).wait_for("\n>")
        seen.send("/good", ENTER).wait_for(NOTED[language]).wait_for("\n>")
        seen.send("/good", ENTER).wait_for(words[1]).wait_for("\n>")
        seen.send("/undo", ENTER).wait_for(words[2]).wait_for("\n>")
        seen.send("/help", ENTER).wait_for("/undo").wait_for("/bye").wait_for("\n>")
        assert all(f"  {command} " in seen.everything for command in ("/fix", "/good", "/undo"))
        seen.send("/bye", ENTER).wait_for(words[3]).send("n", ENTER)
        assert seen.finish() == 0
        assert max(map(cells, seen.everything.splitlines())) <= columns
    (row,) = rows(unregistered.history)
    question, answer = told(row)
    assert question == "你好" and answer == row["rejected"] + "（笑）\n第二行"


def test_an_answer_of_several_lines_is_changed_where_it_stands(unregistered: Talking) -> None:
    with start(unregistered) as seen:
        asked(seen.wait_for("\n>"))
        seen.send("/fix", ENTER).wait_for("改成>")
        seen.send(CLEAR, "第一行", NEW_LINE, "第二行", ENTER).wait_for("记下了").wait_for("\n>")
        seen.send("/fix", ENTER).wait_for("改成> 第一行").wait_for("      第二行")
        seen.send("！", "\x1b[A", "？", ENTER).wait_for("记下了").wait_for("\n>")
        seen.send("\x04").wait_for("改了 1 条").send("n", ENTER)
        assert seen.finish() == 0
    (row,) = rows(unregistered.history)
    assert told(row)[1] == "第一行？\n第二行！" and row["rejected"].startswith("it…（")


def test_where_no_line_can_be_changed_in_place_the_new_answer_is_typed(unregistered: Talking) -> None:
    unregistered.environment["TERM"] = "dumb"
    with start(unregistered) as seen:
        asked(seen.wait_for("\n>"))
        seen.send("/fix", ENTER).wait_for("打出新的回答").wait_for("改成>")
        seen.send("在的。", ENTER).wait_for("记下了").wait_for("\n>")
        seen.send("/bye", ENTER).wait_for("改了 1 条，留了 0 条").send("n", ENTER)
        assert seen.finish() == 0
    (row,) = rows(unregistered.history)
    assert told(row) == ["你好", "在的。"]


@pytest.mark.parametrize("keys", [["n", ENTER], [ESCAPE], [CTRL_C]], ids=["no", "Esc", "Ctrl-C"])
def test_whoever_does_not_want_to_train_now_has_it_all_for_the_next_time(
    unregistered: Talking, keys: list[str]
) -> None:
    with start(unregistered) as seen:
        taught(asked(seen.wait_for("\n>")), "在的。")
        seen.send(CTRL_C).wait_for("改了 1 条，留了 0 条。现在接着训练吗？").send(*keys)
        assert seen.finish() == 0
    assert [told(row) for row in rows(unregistered.history)] == [["你好", "在的。"]]
    assert len(unregistered.history.runs("zzhua")) == 1
    # one that teaches nothing isn't asked
    with start(unregistered) as seen:
        asked(seen.wait_for("\n>")).send("/bye", ENTER)
        assert seen.finish() == 0 and "接着训练" not in seen.everything


def test_yes_leads_to_the_plan_with_the_corrections_and_to_a_character_that_has_learnt_them(
    registered: Talking,
) -> None:
    with start(registered) as seen:
        seen.wait_for("\n>").send("/set top_k 7", ENTER).wait_for("\n>")
        for question, answer in (("你好", "（挥手）你好。"), ("在吗？", "在的。"), ("忙吗？", "不忙。")):
            taught(asked(seen, question), answer)
        asked(seen, "再见").send("/good", ENTER).wait_for("记下了").wait_for("\n>")
        seen.send("/bye", ENTER).wait_for("改了 3 条，留了 1 条。现在接着训练吗？").send(ENTER)
        seen.wait_for("试过的（top_k 7）练完也接着用吗？").send("y", ENTER)
        seen.wait_for("新增 4，删掉 0").wait_for("数据变了，怎么练？").send("2", ENTER)
        seen.wait_for("哪里不满意").send("1", ENTER).wait_for("再加几轮").send(ENTER)
        seen.wait_for("就这样")
        assert "4条+4条纠正（" in "".join(seen.everything.split())
        seen.send(ENTER)
        seen.wait_for("第 1 个").send(ESCAPE).wait_for("用新的吗").send("1", ENTER).wait_for("记一句").send(
            ENTER
        ).wait_for("已经可以用了")
        assert seen.finish() == 0
    first, second = registered.history.runs("zzhua")
    assert second.record["data"]["corrections"] == 4 and second.record["data"]["rows"] == 8
    assert second.record["warm_start"] == first.number and second.record["parameters"]["top_k"] == 7


def test_a_training_that_goes_on_is_told_and_nothing_that_was_typed_is_lost(unregistered: Talking) -> None:
    with start(unregistered) as seen:
        asked(seen.wait_for("\n>"))
        with unregistered.history.lock("zzhua"):
            seen.send("/fix 在的。", ENTER).wait_for("zzhua").wait_for("还没有写下来的有 1 条").wait_for("\n>")
            asked(seen, "忙吗？")
            seen.send("/fix 不忙。", ENTER).wait_for("还没有写下来的有 2 条").wait_for("\n>")
            seen.send("/bye", ENTER).wait_for("还有 2 条没有写下来，怎么办？")
            seen.send(ESCAPE).wait_for("请等它结束").settled()
        assert rows(unregistered.history) == []
        seen.send("1", ENTER).wait_for("改了 2 条，留了 0 条").send("n", ENTER)
        assert seen.finish() == 0
    assert [told(row)[-1] for row in rows(unregistered.history)] == ["在的。", "不忙。"]


def test_whoever_leaves_while_the_model_is_worked_on_sees_once_more_what_was_typed(unregistered: Talking) -> None:
    with start(unregistered) as seen:
        asked(seen.wait_for("\n>"))
        with unregistered.history.lock("zzhua"):
            seen.send("/fix （抬头）在的。", ENTER).wait_for("还没有写下来的有 1 条").wait_for("\n>")
            seen.send("/bye", ENTER).wait_for("怎么办？").send("2", ENTER).wait_for("\n（抬头）在的。")
            assert seen.finish() == 0 and "接着训练吗" not in seen.everything
    assert rows(unregistered.history) == []

"""The questions, answered with real keys in a real terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lora_trainer.errors import Cancelled, DecisionNeeded, UsageError
from pipeline.request import Request
from tests.support.conversation import EXISTING, RECORD, check, review
from tests.support.terminal import CLEAR, CTRL_C, DOWN, ENTER, ESCAPE, Terminal
from wizard import flow
from wizard.questions import Existing
from wizard.screen.screen import Screen


def talk(flags: str = "", *, columns: int = 100, language: str = "zh") -> Terminal:
    code = f"from tests.support.conversation import conversation; conversation({flags!r})"
    return Terminal(["-c", code], columns=columns, rows=40, environment={"TRAIN_TO_OLLAMA_LANG": language})


def result(terminal: Terminal) -> str:
    assert terminal.finish() == 0, terminal.everything
    return " ".join(terminal.everything.rpartition("RESULT ")[2].split())


def test_a_new_model_needs_a_name_a_base_model_and_a_yes() -> None:
    with talk() as terminal:
        terminal.wait_for("给模型起个名字（已有：zzhua）").send("linzhi", ENTER)
        terminal.wait_for("用哪个基座模型").send(ENTER)
        terminal.wait_for("就这样开始吗").send(ENTER)
        assert result(terminal) == "linzhi new Qwen/Qwen2.5-0.5B-Instruct None 2.0 0.0002 8"


def test_an_illegal_name_is_explained_and_its_proposal_is_ready_to_take() -> None:
    with talk("--base_model x --yes") as terminal:
        terminal.wait_for("给模型起个名字").send("林栀", ENTER)
        terminal.wait_for("不能有中文和空格").send(ENTER)
        assert result(terminal).startswith("linzhi new x")


def test_an_empty_name_is_asked_again() -> None:
    with talk("--base_model x --yes") as terminal:
        terminal.wait_for("给模型起个名字").send(ENTER)
        terminal.wait_for("不能为空").send("linzhi", ENTER)
        assert result(terminal).startswith("linzhi")


@pytest.mark.parametrize(("digit", "choice"), [("1", "continue"), ("2", "overwrite")])
def test_digits_choose_what_to_do_with_the_existing_model(digit: str, choice: str) -> None:
    with talk("--ollama_name zzhua --base_model x") as terminal:
        terminal.wait_for("「zzhua」已经在 Ollama 里了。训练过 2 次，最近一次 2026-11-20，共 2.0 轮。")
        for line in ("1) 继续训练", "2) 强制覆盖", "3) 跳过训练", "4) 取消操作"):
            assert line in terminal.screen
        terminal.send(digit, ENTER)
        if choice == "continue":
            terminal.wait_for("选择继续训练的策略").send(ENTER)
            terminal.wait_for("追加训练几轮").send(ENTER)
        terminal.wait_for("就这样开始吗").send(ENTER)
        assert result(terminal).split()[1] == choice


def test_skip_ends_well_and_cancel_ends_with_three() -> None:
    with talk("--ollama_name zzhua") as terminal:
        terminal.wait_for("4) 取消操作").send("3", ENTER)
        assert terminal.finish() == 0
    with talk("--ollama_name zzhua") as terminal:
        terminal.wait_for("4) 取消操作").send("4", ENTER)
        assert terminal.finish() == 3
        assert "已取消" in terminal.screen


def test_arrow_keys_choose_too() -> None:
    with talk("--ollama_name zzhua") as terminal:
        terminal.wait_for("4) 取消操作").send(DOWN, DOWN, DOWN, ENTER)
        assert terminal.finish() == 3


CONTINUE = "--ollama_name zzhua --continue_train"


def test_the_menu_shows_the_four_strategies() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略")
        for line in ("1) 📈 增量训练", "2) ⚙", "调参重训", "3) 📊 数据增强", "4) 🔧 自定义配置"):
            assert line in terminal.wait_for(line).screen


def test_incremental_adds_epochs_and_the_review_shows_the_sum() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("1", ENTER)
        terminal.wait_for("+1.5  常用（共 3.5 轮）").send(ENTER)
        terminal.wait_for("原始训练 2.0 轮 / 增量训练 +1.5 轮 / 最终训练 3.5 轮").wait_for("就这样").send("1", ENTER)
        assert result(terminal) == "zzhua continue recorded incremental 3.5 0.0002 8"


def test_retune_takes_a_preset() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("2", ENTER)
        terminal.wait_for("高质量（学习率 1e-4，秩 16，3.0 轮）").wait_for("快速（学习率 3e-4，秩 8，2.0 轮）").send(
            "1", ENTER
        )
        terminal.wait_for("一次改了 3 个参数").wait_for("就这样").send(ENTER)
        assert result(terminal) == "zzhua continue recorded retune 3.0 0.0001 16"


def test_retune_takes_own_numbers_and_explains_wrong_ones() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("2", ENTER)
        terminal.wait_for("自己设定").send("3", ENTER)
        terminal.wait_for("学习率？（现在 2e-4）").send("5", ENTER)
        terminal.wait_for("学习率 ").send(CLEAR, "20", ENTER)
        terminal.wait_for("learning_rate 不能是 20.0").send(CLEAR, "fast", ENTER)
        terminal.wait_for("请输入一个数字").send(CLEAR, "３e-4", ENTER)
        terminal.wait_for("LoRA 的秩？（现在 8）").send("4", ENTER)
        terminal.wait_for("总共训练几轮").send(CLEAR, "２．５", ENTER)
        terminal.wait_for("就这样", unless="请输入一个数字").send(ENTER)
        assert result(terminal) == "zzhua continue recorded retune 2.5 0.0003 32"


def test_augment_advises_epochs_for_the_amount_of_data() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("3", ENTER)
        terminal.wait_for("你有 60 条对话，建议 3.0-4.0").send(ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal) == "zzhua continue recorded augment 3.5 0.0002 8"


def test_custom_asks_every_number() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("4", ENTER)
        terminal.wait_for("总共训练几轮").send(CLEAR, "3", ENTER)
        terminal.wait_for("2e-4  默认").send("2", ENTER)
        terminal.wait_for("LoRA 的秩").send("3", ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal) == "zzhua continue recorded custom 3.0 0.0001 16"


def test_escape_goes_one_question_back_and_from_the_first_one_to_the_menu() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("4", ENTER)
        terminal.wait_for("总共训练几轮").send(ENTER)
        terminal.wait_for("2e-4  默认").send(ESCAPE)
        terminal.wait_for("总共训练几轮").send(ESCAPE)
        terminal.wait_for("1) 📈 增量训练").send("1", ENTER)
        terminal.wait_for("追加训练几轮").send("6", ENTER)
        terminal.wait_for("3) 📊 数据增强").send("3", ENTER)
        terminal.wait_for("建议 3.0-4.0").send(ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal).split()[3] == "augment"


def test_escape_goes_back_one_question_and_no_further() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("4", ENTER)
        terminal.wait_for("总共训练几轮").send(CLEAR, "3", ENTER)
        terminal.wait_for("学习率？").send("2", ENTER)
        terminal.wait_for("LoRA 的秩？").send(ESCAPE)
        terminal.wait_for("学习率？", unless="总共训练几轮").send("1", ENTER)
        terminal.wait_for("LoRA 的秩？").send("1", ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal) == "zzhua continue recorded custom 3.0 1e-05 4"


def test_escape_from_own_numbers_returns_to_the_presets() -> None:
    with talk(CONTINUE) as terminal:
        terminal.wait_for("选择继续训练的策略").send("2", ENTER)
        terminal.wait_for("3) 自己设定").send("3", ENTER)
        terminal.wait_for("学习率？").send(ESCAPE)
        terminal.wait_for("2) 快速", unless="选择继续训练的策略").send("2", ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal) == "zzhua continue recorded retune 2.0 0.0003 8"


def test_the_review_can_be_gone_back_from_even_when_flags_decided_everything() -> None:
    with talk(f"{CONTINUE} --strategy retune --epochs 4") as terminal:
        terminal.wait_for("就这样").send("2", ENTER)
        terminal.wait_for("1) 📈 增量训练", unless="选择一组参数").send("1", ENTER)
        terminal.wait_for("追加训练几轮", unless="就这样").send("1", ENTER)
        terminal.wait_for("最终训练 3.0 轮").wait_for("1) 开始训练").send("1", ENTER)
        assert result(terminal) == "zzhua continue recorded incremental 3.0 0.0002 8"


FLAGS = "--epochs 4 --learning_rate 5e-5 --lora_rank 32"


@pytest.mark.parametrize("before", [f"{CONTINUE} {FLAGS}", f"{CONTINUE} --add_epochs 1 --learning_rate 5e-5"])
def test_answers_after_the_review_win_over_the_flags_of_before(before: str) -> None:
    with talk(before) as terminal:
        terminal.wait_for("就这样").send("2", ENTER)
        terminal.wait_for("4) 🔧 自定义配置").send("4", ENTER)
        terminal.wait_for("总共训练几轮", unless="就这样").send(CLEAR, "3", ENTER)
        terminal.wait_for("2e-4  默认").send("2", ENTER)
        terminal.wait_for("LoRA 的秩").send("3", ENTER)
        terminal.wait_for("3) 取消").send("1", ENTER)
        assert result(terminal) == "zzhua continue recorded custom 3.0 0.0001 16"


def test_numbers_that_are_not_asked_after_the_review_are_the_recorded_ones() -> None:
    with talk(f"{CONTINUE} {FLAGS}") as terminal:
        terminal.wait_for("就这样").send("2", ENTER)
        terminal.wait_for("3) 📊 数据增强").send("3", ENTER)
        terminal.wait_for("总共训练几轮", unless="就这样").send(CLEAR, "3", ENTER)
        terminal.wait_for("3) 取消").send("1", ENTER)
        assert result(terminal) == "zzhua continue recorded augment 3.0 0.0002 8"


def test_answers_after_the_review_win_over_the_flags_of_a_new_model_too() -> None:
    with talk(f"--ollama_name linzhi --base_model x {FLAGS}") as terminal:
        terminal.wait_for("就这样").send("2", ENTER)
        terminal.wait_for("总共训练几轮").send(CLEAR, "3", ENTER)
        terminal.wait_for("2e-4  默认").send("2", ENTER)
        terminal.wait_for("LoRA 的秩").send("3", ENTER)
        terminal.wait_for("3) 取消").send("1", ENTER)
        assert result(terminal) == "linzhi new x None 3.0 0.0001 16"


@pytest.mark.parametrize(("key", "epochs"), [("1", "4.0 0.0002 8 in rungs"), ("2", "3.0 0.0002 8")])
def test_a_ladder_is_climbed_unless_epochs_are_answered_in_its_place(key: str, epochs: str) -> None:
    with talk("--ollama_name linzhi --base_model x --ladder 2,4") as terminal:
        terminal.wait_for("就这样").send(key, ENTER)
        if key == "2":
            terminal.wait_for("总共训练几轮").send(CLEAR, "3", ENTER)
            terminal.wait_for("2e-4  默认").send(ENTER)
            terminal.wait_for("LoRA 的秩").send(ENTER)
            terminal.wait_for("3) 取消").send("1", ENTER)
        assert result(terminal) == f"linzhi new x None {epochs}"


def test_a_new_model_can_be_changed_from_its_review() -> None:
    with talk("--ollama_name linzhi --base_model x") as terminal:
        terminal.wait_for("就这样").send("2", ENTER)
        terminal.wait_for("总共训练几轮").send(CLEAR, "3", ENTER)
        terminal.wait_for("2e-4  默认").send(ENTER)
        terminal.wait_for("LoRA 的秩").send(ENTER)
        terminal.wait_for("3) 取消").send("1", ENTER)
        assert result(terminal) == "linzhi new x None 3.0 0.0002 8"


def test_more_than_ten_epochs_are_asked_back() -> None:
    with talk("--ollama_name linzhi --base_model x --epochs 12") as terminal:
        terminal.wait_for("确定要这么多吗", unless="就这样").send("n", ENTER)
        terminal.wait_for("总共训练几轮").send(CLEAR, "11", ENTER)
        terminal.wait_for("2e-4  默认").send(ENTER)
        terminal.wait_for("LoRA 的秩").send(ENTER)
        terminal.wait_for("一共 11.0 轮，确定", unless="就这样").send("y", ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal).split()[4] == "11.0"


def test_a_model_made_elsewhere_is_offered_as_its_own_base() -> None:
    with talk("--ollama_name foreign --add_epochs 1.5") as terminal:
        terminal.wait_for("1) ollama:foreign").send(ENTER)
        terminal.wait_for("这个模型没有训练记录").wait_for("就这样").send(ENTER)
        assert result(terminal) == "foreign continue ollama:foreign incremental 1.5 0.0002 8"


def test_another_base_model_is_typed_in_and_escape_returns_to_the_list() -> None:
    with talk("--ollama_name linzhi") as terminal:
        terminal.wait_for("5) 其他").send("5", ENTER)
        terminal.wait_for("（Esc 返回）").send(ESCAPE)
        terminal.wait_for("5) 其他").send("5", ENTER)
        terminal.wait_for("（Esc 返回）").send("./my model", ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal).startswith("linzhi new ./my model None")


@pytest.mark.parametrize(
    ("flags", "question"),
    [
        ("", "给模型起个名字"),
        ("--ollama_name zzhua", "4) 取消操作"),
        (CONTINUE, "4) 🔧"),
        (f"{CONTINUE} --strategy augment", "总共训练几轮"),
        ("--ollama_name linzhi --base_model x", "就这样开始吗"),
        ("--ollama_name linzhi --base_model x --epochs 12", "确定要这么多吗"),
    ],
)
def test_control_c_at_any_question_cancels_with_three(flags: str, question: str) -> None:
    with talk(flags) as terminal:
        terminal.wait_for(question).send(CTRL_C)
        assert terminal.finish() == 3
        assert "已取消，什么都没有改动" in terminal.screen


def test_choosing_among_models_when_one_is_to_be_continued() -> None:
    with talk("--continue_train --add_epochs 1") as terminal:
        terminal.wait_for("选择一个模型").wait_for("1) zzhua").send(ENTER)
        terminal.wait_for("就这样").send(ENTER)
        assert result(terminal).startswith("zzhua continue")


def test_the_conversation_works_in_english_and_in_forty_columns() -> None:
    with talk("--ollama_name zzhua", columns=40, language="en") as terminal:
        terminal.wait_for("1) Continue training").send("1", ENTER)
        terminal.wait_for("1) 📈 More epochs").send("1", ENTER)
        terminal.wait_for("How many epochs to add").send(ENTER)
        terminal.wait_for("Start like this?").send(ENTER)
        assert "incremental 3.5" in result(terminal)


# --- without a terminal


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ({}, "--ollama_name"),
        ({"ollama_name": "zzhua"}, "--on_exists"),
        ({"ollama_name": "zzhua", "continue_train": True}, "--strategy"),
        ({"ollama_name": "zzhua", "strategy": "incremental"}, "--add_epochs"),
        ({"ollama_name": "zzhua", "strategy": "augment"}, "--epochs"),
        ({"ollama_name": "zzhua", "epochs": 12.0, "continue_train": True}, "--yes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_a_terminal_a_missing_decision_names_its_flag(flags: Mapping[str, object], flag: str) -> None:
    request = Request(**flags)  # type: ignore[arg-type]
    screen = Screen(quiet=True)
    with pytest.raises(DecisionNeeded) as needed:
        name = flow.decide_name(request, screen, [], check)
        choice = flow.decide_existing(request, name, EXISTING)
        flow.decide_plan(request, screen, choice, RECORD, 60, lambda decision: review(decision, choice, RECORD))
    assert needed.value.values["flag"] == flag


def decided(**flags: Any) -> flow.Decision:
    """What flags alone decide of a model that is continued."""
    request = Request(ollama_name="zzhua", continue_train=True, **flags)
    return flow.decide_plan(
        request, Screen(quiet=True), "continue", RECORD, 60, lambda decision: review(decision, "continue", RECORD)
    )


@pytest.mark.parametrize(
    ("flags", "strategy", "numbers"),
    [
        ({"add_epochs": 1.5}, "incremental", (3.5, 2e-4, 8)),
        ({"add_epochs": 1.5, "learning_rate": 1e-4}, "incremental", (3.5, 1e-4, 8)),
        ({"strategy": "incremental", "add_epochs": 1.5, "lora_rank": 16}, "incremental", (3.5, 2e-4, 16)),
        ({"strategy": "augment", "epochs": 5.0}, "augment", (5.0, 2e-4, 8)),
        ({"strategy": "augment", "epochs": 5.0, "learning_rate": 1e-4}, "augment", (5.0, 1e-4, 8)),
        ({"strategy": "retune", "learning_rate": 1e-4}, "retune", (2.0, 1e-4, 8)),
        ({"strategy": "retune", "lora_rank": 16}, "retune", (2.0, 2e-4, 16)),
        ({"strategy": "retune", "epochs": 3.0}, "retune", (3.0, 2e-4, 8)),
        ({"strategy": "custom", "lora_rank": 16}, "custom", (2.0, 2e-4, 16)),
        ({"ladder": "2,3"}, "custom", (3.0, 2e-4, 8)),
    ],
    ids=str,
)
def test_flags_alone_decide_everything_and_hold_with_every_strategy(
    flags: dict[str, Any], strategy: str, numbers: tuple[float, float, int]
) -> None:
    decision = decided(**flags)
    plan = decision.plan
    assert (decision.strategy, (plan.epochs, plan.learning_rate, plan.lora_rank)) == (strategy, numbers)
    given = flags.keys() & {"epochs", "learning_rate", "lora_rank"}
    assert {name for name, source in plan.sources.items() if source == "flag"} >= given


@pytest.mark.parametrize(
    ("flags", "numbers"),
    [
        ({"strategy": "incremental", "learning_rate": 1e-4}, (3.5, 1e-4, 8)),
        ({"strategy": "augment", "learning_rate": 1e-4}, (3.5, 1e-4, 8)),
        ({"strategy": "augment", "lora_rank": 16}, (3.5, 2e-4, 16)),
    ],
    ids=str,
)
def test_a_flag_that_a_strategy_does_not_ask_for_leaves_its_own_question_open(
    flags: dict[str, Any], numbers: tuple[float, float, int]
) -> None:
    with pytest.raises(DecisionNeeded) as needed:
        decided(**flags)
    assert needed.value.values["flag"] == ("--add_epochs" if flags["strategy"] == "incremental" else "--epochs")
    plan = decided(**flags, yes=True).plan
    assert (plan.epochs, plan.learning_rate, plan.lora_rank) == numbers


@pytest.mark.parametrize(("name", "epochs"), [("incremental", 3.5), ("augment", 3.5), ("retune", 3.0), ("custom", 2.0)])
def test_yes_takes_the_suggested_numbers(name: str, epochs: float) -> None:
    request = Request(strategy=name, yes=True)
    decision = flow.decide_plan(
        request, Screen(quiet=True), "continue", RECORD, 60, lambda d: review(d, "continue", RECORD)
    )
    assert decision.plan.epochs == epochs
    assert decision.plan.sources["epochs"] == "strategy"


def test_yes_alone_decides_nothing_about_an_existing_model() -> None:
    with pytest.raises(DecisionNeeded) as needed:
        flow.decide_existing(Request(yes=True), "zzhua", EXISTING)
    assert needed.value.values["flag"] == "--on_exists"


def test_yes_confirms_many_epochs() -> None:
    request = Request(epochs=12.0, yes=True)
    assert flow.decide_plan(request, Screen(quiet=True), "new", None, 60, review).plan.epochs == 12


def test_the_default_base_model_is_taken_and_said_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert flow.decide_base(Request(), Screen(), None) == flow.DEFAULT_BASE_MODEL
    assert flow.DEFAULT_BASE_MODEL in capsys.readouterr().out
    assert flow.decide_base(Request(), Screen(quiet=True), "recorded") == "recorded"
    assert flow.decide_base(Request(base_model="x"), Screen(quiet=True), "recorded") == "x"


def test_what_does_not_exist_can_not_be_continued() -> None:
    with pytest.raises(UsageError, match="nothing_to_continue"):
        flow.decide_existing(Request(continue_train=True), "new", None)
    with pytest.raises(UsageError, match="nothing_to_continue"):
        flow.decide_existing(Request(strategy="augment"), "new", None)
    with pytest.raises(UsageError, match="nothing_to_continue"):
        flow.decide_existing(Request(warm_start=True), "new", None)
    assert flow.decide_existing(Request(on_exists="continue"), "new", None) == "new"


def test_a_warm_start_needs_an_adapter_that_was_recorded() -> None:
    assert flow.decide_existing(Request(warm_start=True), "zzhua", EXISTING) == "continue"
    with pytest.raises(UsageError) as refused:
        flow.decide_existing(Request(warm_start=True), "foreign", Existing(in_ollama=True))
    assert (refused.value.key, refused.value.values) == ("error.warm_start.no_record", {"name": "foreign"})
    assert flow.decide_existing(Request(continue_train=True), "foreign", Existing(in_ollama=True)) == "continue"


def test_cancel_by_flag_is_a_cancellation_and_skip_is_none() -> None:
    with pytest.raises(Cancelled):
        flow.decide_existing(Request(on_exists="cancel"), "zzhua", EXISTING)
    assert flow.decide_existing(Request(on_exists="skip"), "zzhua", EXISTING) == "skip"


def test_a_dry_run_asks_for_no_start() -> None:
    request = Request(dry_run=True, epochs=12.0)
    assert flow.decide_plan(request, Screen(quiet=True), "new", None, 60, review).plan.epochs == 12

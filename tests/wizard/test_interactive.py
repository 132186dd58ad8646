"""The real program in a real terminal: a hobbyist's evening, key by key."""

from __future__ import annotations

import pytest

from ollama_export.server.client import OllamaClient
from tests.support.ollama_fixture import running_ollama
from tests.support.program import ROOT, Program

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")


def start(program: Program, *flags: str, watcher: str = "", **size: int):
    from tests.support.terminal import Terminal

    entry = ["-m", "tests.support.watchers", watcher] if watcher else [str(ROOT / "train_to_ollama.py")]
    command = [*entry, "--data_dir", str(program.data), *flags]
    environment = {**program.environment, "TRAIN_TO_OLLAMA_LANG": "zh"}
    return Terminal(command, environment=environment, cwd=program.folder, **size)


def test_an_evening_from_the_first_name_to_training_on_and_cancelling(tmp_path):
    from tests.support.terminal import CTRL_C, ENTER

    with running_ollama() as server:
        program, model = Program(tmp_path, server.url), server.name("zzhua")
        base = ("--base_model", str(program.base))
        with start(program, *base) as terminal:
            terminal.wait_for("名字").send(model, ENTER)
            terminal.wait_for("就这样").send(ENTER).wait_for("个问题，第 1 个").send(ENTER)
            terminal.wait_for("第 1 次练好了，放进 Ollama 吗").wait_for("1) 放进 Ollama").send("1", ENTER)
            terminal.wait_for("已经可以用了").wait_for("--continue_train")
            assert terminal.finish() == 0
            shown = terminal.everything
        for words in ("模型", "损失", "训练记录", f"ollama run {model}"):
            assert words in shown
        first = OllamaClient(server.url).digest(model)

        with start(program, "--ollama_name", model) as terminal:
            terminal.wait_for(f"{model} 已经在 Ollama 里").wait_for("取消操作")
            for line in ("继续训练", "强制覆盖", "跳过训练"):
                assert line in terminal.screen
            terminal.send("1", ENTER).wait_for("哪里不满意").wait_for("只改温度")
            for name in ("📈", "增量训练", "调参重训", "📊", "数据增强", "🔧", "自定义配置"):
                assert name in terminal.screen
            terminal.send("1", ENTER).wait_for("再加几轮").send("1", ENTER)
            terminal.wait_for("原始训练 5.0 轮 / 增量训练 +1 轮 / 最终训练 6.0 轮")
            terminal.wait_for("就这样").send(ENTER).wait_for("个问题，第 1 个").send(ENTER)
            terminal.wait_for("用新的吗").wait_for("1) 换上新的").send("1", ENTER)
            terminal.wait_for("记一句").send(ENTER)
            terminal.wait_for("已经可以用了").wait_for("--rollback")
            assert terminal.finish() == 0
        client = OllamaClient(server.url)
        second = client.digest(model)
        assert second != first and program.history.newest(model).plan.epochs == 6.0

        with start(program, "--ollama_name", model) as terminal:
            terminal.wait_for("取消操作").send("4", ENTER)
            assert terminal.finish() == 3
        with start(program, "--ollama_name", model) as terminal:
            terminal.wait_for("取消操作").send(CTRL_C)
            assert terminal.finish() == 3
        assert client.digest(model) == second and len(program.history.runs(model)) == 2


def test_epochs_that_are_answered_in_the_place_of_a_ladder_are_trained_alone(tmp_path):
    from tests.support.terminal import ENTER

    program = Program(tmp_path)
    flags = ("--ollama_name", "zzhua", "--base_model", str(program.base), "--no_register", "--ladder", "1,2")
    with start(program, *flags) as terminal:
        terminal.wait_for("就这样").send("2", ENTER).wait_for("改哪一样").send("1", ENTER)
        terminal.wait_for("自己输入").send("5", ENTER).wait_for("? 轮数").send("0.5", ENTER)
        terminal.wait_for("就这样").send("1", ENTER).wait_for("个问题，第 1 个").send(ENTER)
        terminal.wait_for("训练好了")
        assert terminal.finish() == 0
    assert [(run.record["status"], run.plan.epochs) for run in program.history.runs("zzhua")] == [("done", 0.5)]


def test_control_c_in_training_keeps_what_is_done_and_the_same_command_goes_on(tmp_path):
    from tests.support.terminal import CTRL_C

    program = Program(tmp_path, rows=40)
    flags = ("--ollama_name", "zzhua", "--base_model", str(program.base), "--no_register", "--epochs", "8", "--yes")
    with start(program, *flags, watcher=f"hold StepDone:5 {program.gate}", columns=60) as terminal:
        terminal.wait_for("5/80 步").send(CTRL_C).wait_for("正在停下")
        program.gate.unlink()
        assert terminal.finish() == 130
        assert terminal.has_shown("从这里接着练")
    with start(program, *flags, columns=60) as terminal:
        terminal.wait_for("接着第 1 次训练没做完的地方继续").wait_for("训练好了")
        assert terminal.finish() == 0
    assert [run.record["status"] for run in program.history.runs("zzhua")] == ["done"]


def test_where_the_base_model_is_gone_it_is_asked_what_to_train_on(tmp_path):
    from tests.support.terminal import ENTER

    with running_ollama() as server:
        program, model = Program(tmp_path, server.url), server.name("zzhua")
        program.run("--ollama_name", model, "--epochs", "0.5")
        program.base.rename(tmp_path / "moved")
        flags = ("--ollama_name", model, "--continue_train", "--add_epochs", "1", "--dry_run")
        for base, epochs in ((f"ollama:{model}", "1.0"), (str(tmp_path / "moved"), "1.5")):
            with start(program, *flags, columns=120) as terminal:
                terminal.wait_for("当初训练用的基座模型").wait_for(f"1) ollama:{model}").wait_for(") 本地文件夹")
                row = next(line for line in terminal.screen.split("\n") if ") 本地文件夹" in line)
                if base.startswith("ollama:"):
                    terminal.send(ENTER)
                else:
                    terminal.send(row.split(")")[0].strip(), ENTER).wait_for("可以把文件拖进来").send("./moved", ENTER)
                terminal.wait_for("开始之前").wait_for(base).wait_for(f"{epochs} 轮")
                assert terminal.finish() == 0

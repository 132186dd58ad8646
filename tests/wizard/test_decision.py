"""Nothing is replaced before somebody has decided: put it in, keep the old one, another point, train on, or later."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.outcome.points import points_of
from tests.support.character import command_on
from tests.support.terminal import CTRL_C, ENTER, ESCAPE, Terminal
from tests.support.undecided import Undecided, undecided
from wizard.words import LANGUAGES

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")

SAID = {
    "zh": {
        "offered": "» 0) 决定练好的第 2 次用不用",
        "asked": "用新的吗",
        "take": "» 1) 换上新的",
        "note": "记一句",
        "done": "已经可以用了",
        "declined": "留在记录里，Ollama 里的没有动",
    },
    "en": {
        "offered": "» 0) decide about run 2",
        "asked": "Take the new one?",
        "take": "» 1) take the new one",
        "note": "A note",
        "done": "is ready",
        "declined": "stays in the history; Ollama's model was not touched",
    },
}


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undecided]:
    with undecided(tmp_path_factory.mktemp("地方 place"), stood=True) as found:
        yield found


@pytest.fixture
def waits(beside: Undecided) -> Undecided:
    """Run 2 waits beside run 1, which stands."""
    return beside.restore()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undecided]:
    with undecided(tmp_path_factory.mktemp("alone"), stood=False) as found:
        yield found


@pytest.fixture
def first(alone: Undecided) -> Undecided:
    """The first run of the name waits."""
    return alone.restore()


def asked(waits: Undecided, language: str = "zh") -> Terminal:
    """A conversation at the decision, to which the name alone leads."""
    said = SAID[language]
    terminal = waits.character.about("--no_compare", language=language)
    terminal.wait_for(said["offered"]).send(ENTER).wait_for(said["asked"]).wait_for(said["take"])
    return terminal


def assert_waits(waits: Undecided) -> None:
    """Nothing was replaced, nobody holds the name, nothing is left in Ollama, and it is offered again."""
    assert waits.run.is_waiting and waits.stands == waits.stood
    assert waits.models == ["zzhua:latest"]
    with waits.character.program.history.lock(waits.character.name):
        pass
    with waits.character.about() as terminal:
        terminal.wait_for(SAID["zh"]["offered"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_taking_the_new_one_replaces_the_old_one_which_stays_as_a_backup(waits: Undecided, language: str) -> None:
    said, trained = SAID[language], waits.run.record["stages"]["train"]
    with asked(waits, language) as terminal:
        # both runs stand side by side
        assert terminal.has_shown("19.") and terminal.has_shown("2.0")
        terminal.send(ENTER).wait_for(said["note"]).send("更爱脸红了", ENTER).wait_for(said["done"])
        assert terminal.finish() == 0
    record = waits.run.record
    assert (record["status"], record["note"]) == ("done", "更爱脸红了")
    assert record["stages"]["train"] == trained
    assert waits.stands == record["ollama"]["digest"] != waits.stood
    assert waits.client.digest(record["ollama"]["backup"]) == waits.stood
    assert waits.models == sorted([record["ollama"]["backup"], "zzhua:latest"])
    assert not list(waits.run.folder.glob("*.gguf")) and not (waits.run.folder / "points").exists()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_old_one_stays_where_it_is_kept_and_the_new_one_is_one_choice_away(waits: Undecided, language: str) -> None:
    said = SAID[language]
    with asked(waits, language) as terminal:
        terminal.send("2", ENTER).wait_for(said["note"]).send(ENTER).wait_for("--register_only --run 2")
        assert terminal.finish() == 0
        assert said["declined"] in " ".join(terminal.everything.split())
    assert waits.run.is_declined and waits.stands == waits.stood and waits.models == ["zzhua:latest"]
    assert "note" not in waits.run.record and len(points_of(waits.run)) == 1
    assert not list(waits.run.folder.glob("*.gguf")) and (waits.run.folder / "adapter").is_dir()
    how = (waits.run.folder / "Modelfile").read_text(encoding="utf-8")
    assert "Not taken" in how and "--register_only --run 2" in how
    if language == "en":
        return
    with waits.character.about() as terminal:
        # it is no unfinished one, and publishing it takes no training
        terminal.wait_for("5) 放进练好的第 2 次（当时没有用）", unless="0) ").send("5", ENTER)
        terminal.wait_for("已经可以用了")
        assert terminal.finish() == 0
    record = waits.run.record
    assert record["status"] == "done" and waits.stands == record["ollama"]["digest"] != waits.stood


def test_escape_lets_it_wait_with_zero_and_tells_the_way_back(waits: Undecided) -> None:
    with asked(waits) as terminal:
        terminal.send("2", ENTER).wait_for("记一句").send(ESCAPE).wait_for("用新的吗").send(ESCAPE)
        terminal.wait_for("先放着，Ollama 里的没有动").wait_for("--ollama_name zz")
        assert terminal.finish() == 0
    assert_waits(waits)


@pytest.mark.parametrize("keys", [(), ("2", ENTER), ("4", ENTER), ("5", ENTER)], ids=["menu", "note", "points", "on"])
def test_control_c_at_any_question_lets_it_wait_with_three(waits: Undecided, keys: tuple[str, ...]) -> None:
    with asked(waits) as terminal:
        if keys:
            terminal.send(*keys).wait_for({"2": "记一句", "4": "用哪一个", "5": "哪里不满意"}[keys[0]])
        terminal.send(CTRL_C).wait_for("还没决定用不用；Ollama 里的没有动")
        assert terminal.finish() == 3
    assert waits.run.is_waiting and waits.stands == waits.stood and waits.models == ["zzhua:latest"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL], ids=["closed terminal", "kill"])
def test_a_closed_terminal_and_a_kill_let_it_wait(waits: Undecided, number: signal.Signals) -> None:
    with asked(waits) as terminal:
        os.kill(terminal.pid, number)
        assert terminal.finish() == -number
    assert_waits(waits)


def test_another_point_can_be_taken_and_counts_as_the_runs_length(waits: Undecided) -> None:
    end = waits.run.record["gguf"]["digest"]
    with asked(waits) as terminal:
        terminal.send("4", ENTER).wait_for("» 3) 第 2.0 轮").settled()
        assert "1) 第 0.5 轮  验证损失 3.00  第 3 步的回答。" in terminal.screen
        terminal.send(ESCAPE).wait_for("» 4) 比一比第 0.5，1.0，2.0 轮的回答").send(ENTER)
        terminal.wait_for("用哪一个").send("2", ENTER).wait_for("记一句").send(ENTER)
        terminal.wait_for("其余 1 份", 60).send(ENTER).wait_for("已经可以用了")
        assert terminal.finish() == 0
    run = waits.run
    assert run.record["status"] == "done" and run.record["point"] == {"step": 6, "epochs": 1.0}
    assert [child.name for child in (run.folder / "points").iterdir()] == ["6"] and (run.folder / "adapter").is_dir()
    assert run.record["gguf"]["adapter"] == "points/6" and run.record["gguf"]["digest"] != end
    assert waits.stands == run.record["ollama"]["digest"] != waits.stood
    with waits.character.about("--add_epochs", "1.5") as terminal:
        terminal.wait_for("第 2 次现在用的是第 1 轮的那一份").wait_for("原始训练 1.0 轮 / 增量训练 +1.5 轮")
        terminal.wait_for("最终训练 2.5 轮")


def test_where_a_warning_stands_an_earlier_point_is_recommended_and_the_warning_told(waits: Undecided) -> None:
    training = waits.run.record["training"]
    waits.run.update(training={**training, "general_loss": {"language": "zh", "before": 3.4, "after": 4.4}})
    with waits.character.about("--no_compare") as terminal:
        terminal.wait_for(SAID["zh"]["offered"]).send(ENTER).wait_for("结论：练过头了").wait_for("用新的吗")
        terminal.wait_for("» 4) 比一比第 0.5，1.0，2.0 轮的回答").send(ENTER).wait_for("» 2) 第 1.0 轮").settled()
        assert "3) 第 2.0 轮  验证损失 3.50  ! 忘得不少" in terminal.screen
        terminal.send(ESCAPE, ESCAPE)
        assert terminal.finish() == 0


def test_training_on_from_it_leads_into_the_strategies_and_back(waits: Undecided) -> None:
    with asked(waits) as terminal:
        terminal.send("5", ENTER).wait_for("哪里不满意").send(ESCAPE).wait_for("» 5) 在它上面接着练").send(ENTER)
        terminal.wait_for("哪里不满意").send("1", ENTER).wait_for("再加几轮").send("1", ENTER)
        terminal.wait_for("原始训练 2.0 轮 / 增量训练 +1 轮 / 最终训练 3.0 轮")
        words = command_on(terminal)
        assert words[words.index("--from_run") + 1] == "2"
        terminal.send("3", ENTER)
        assert terminal.finish() == 3
    assert waits.run.is_waiting and waits.stands == waits.stood
    planned = waits.character.program.run_bare(*words, "--dry_run")["plan"]
    assert planned["epochs"] == 3.0


def test_the_first_run_of_a_name_waits_and_can_be_kept_for_later(first: Undecided) -> None:
    with first.character.about("--no_compare") as terminal:
        terminal.wait_for("有一次练好了，还没决定用不用").wait_for("» 1) 决定练好的第 1 次用不用").send(ENTER)
        terminal.wait_for("zzhua 第 1 次练好了，放进 Ollama 吗").wait_for("» 1) 放进 Ollama").settled()
        assert "旧的" not in terminal.screen and "ollama run zzhua" in terminal.screen
        terminal.send("4", ENTER).wait_for("结论：").settled()
        assert "» 1) 放进 Ollama" in terminal.screen
        terminal.send("5", ENTER).wait_for("--run 1")
        assert terminal.finish() == 0
    assert first.run.is_declined and first.stands is None and first.models == []
    with first.character.about() as terminal:
        terminal.wait_for("有一次练好了，当时没有放进 Ollama").wait_for("» 1) 重新训练一次")
        terminal.wait_for("2) 放进练好的第 1 次")


def test_the_first_run_of_a_name_is_put_in_at_enter(first: Undecided) -> None:
    with first.character.about("--no_compare") as terminal:
        terminal.wait_for("» 1) 决定练好的第 1 次用不用").send(ENTER).wait_for("» 1) 放进 Ollama").send(ENTER)
        terminal.wait_for("已经可以用了")
        assert terminal.finish() == 0
    assert first.run.is_done and first.stands == first.run.record["ollama"]["digest"]


def test_a_script_goes_on_with_publishing_what_waits_and_trains_nothing(waits: Undecided) -> None:
    name, trained = waits.character.name, waits.run.record["stages"]["train"]
    told = waits.character.program.run(
        "--ollama_name", name, "--continue_train", "--strategy", "augment", "--epochs", "2"
    )
    assert (told["run"], told["status"]) == (2, "done") and waits.run.record["stages"]["train"] == trained
    assert waits.stands == told["ollama"]["digest"] != waits.stood


def test_of_a_ladder_each_rung_can_be_taken_and_the_others_are_kept(first: Undecided) -> None:
    program = first.character.program
    place = ("--base_model", str(program.base), "--data_dir", str(program.data))
    with first.character.talk("--ollama_name", "rungs", *place, "--ladder", "0.5,1", "--no_compare") as terminal:
        terminal.wait_for("就这样").send(ENTER).wait_for("rungs 第 2 次练好了，放进 Ollama 吗", unless="发布第")
        terminal.wait_for("2) 在 0.5，1.0 轮里选一个").send("2", ENTER).wait_for("» 2) 第 1.0 轮")
        terminal.send("1", ENTER).wait_for("已经可以用了")
        assert terminal.finish() == 0
    shorter, longer = program.history.runs("rungs")
    assert (shorter.record["status"], longer.record["status"]) == ("done", "declined")
    assert first.client.digest("rungs") == shorter.record["ollama"]["digest"]
    assert not longer.publications and not list(longer.folder.glob("*.gguf"))

"""The front page: what it knows, what it takes for an answer, and that nobody keeps it waiting."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lora_trainer.plan import TrainPlan
from ollama_export.server.glance import Glance
from pipeline.run.history import History
from pipeline.run.overview import Character, Overview, Unfinished, overview
from tests.support.ollama_fixture import running_ollama
from tests.support.project import ROOT
from tests.support.terminal import CTRL_C, ENTER, ESCAPE, Terminal
from wizard import words
from wizard.screen.front import Marks, front_page
from wizard.screen.layout import cells
from wizard.words import spoken_time

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def train(
    home: Path,
    name: str,
    *,
    epochs: float = 2.0,
    status: str = "done",
    digest: str = "",
    created: str = "",
    rows: int = 87,
    file: str = "data/train.jsonl",
    checkpoint: int | None = None,
    trained: bool = True,
    habits: tuple[int, int] | None = None,
) -> None:
    """A run as a training leaves it; `habits`: in how many of how many answers its card saw them."""
    run = History(home).begin(
        name,
        plan=TrainPlan(epochs=epochs).to_json(),
        request={},
        base={"source": "a/base"},
        strategy=None,
        data={"train_file": file, "files": {file: {"rows": rows}}, "rows": rows},
    )
    if checkpoint is not None:
        (run.folder / "checkpoints" / f"checkpoint-{checkpoint}").mkdir(parents=True)
    if trained:
        run.mark_done("train", 60.0, training={"losses": [[1, 2.0], [2, 1.5]], "val_losses": []})
    published = [{"digest": digest, "finished": created, "order": 1, "backup": None}] if digest else []
    run.update(status=status, publications=published)
    if created:
        run.update(created=created)
    if habits is not None:
        run.update(card={"facts": {"asked": habits[1], "habits": [{"after": habits[0]}, {"after": 0}]}})


class Tags(ThreadingHTTPServer):
    """Answers /api/tags as Ollama does; with `silent` it takes every call and never answers."""

    def __init__(self, models: Mapping[str, str], silent: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.models, self.silent, self.closing = models, silent, threading.Event()
        self.host = f"127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self) -> Tags:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class Answering(BaseHTTPRequestHandler):
    server: Tags

    def do_GET(self) -> None:
        if self.server.silent:
            self.server.closing.wait()
            return
        listed = [{"name": name, "digest": digest} for name, digest in self.server.models.items()]
        body = json.dumps({"models": listed}).encode()
        self.send_response(200 if self.path == "/api/tags" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two characters, one of them with an unfinished run, as in the mock-up."""
    home = tmp_path / "runs"
    train(home, "linzhi", digest="d1", epochs=2.0, created="2025-11-22T10:00:00+00:00")
    train(home, "linzhi", digest="d3", epochs=3.5, created="2025-11-23T16:30:00+00:00", habits=(9, 10))
    train(home, "parrot", digest="p1", created="2025-11-20T10:00:00+00:00", rows=79, file="data/demo/train.jsonl")
    train(
        home,
        "parrot",
        status="interrupted",
        created="2025-11-20T11:30:00+00:00",
        rows=79,
        file="data/demo/train.jsonl",
        checkpoint=12,
        trained=False,
    )
    return home


def environment(home: Path, host: str = "127.0.0.1:9", **more: str) -> dict[str, str]:
    return {"TRAIN_TO_OLLAMA_HOME": str(home), "OLLAMA_HOST": host, "TZ": "CST-8", **more}


def start(home: Path, host: str = "127.0.0.1:9", *, columns: int = 80, **more: str) -> Terminal:
    return Terminal(["-m", "wizard.home"], columns=columns, environment=environment(home, host, **more))


# --- what it knows


def test_the_overview_knows_what_stands_by_digest_and_what_is_unfinished(home: Path) -> None:
    seen = overview(History(home), {"linzhi": "d1", "Parrot": "p1"})
    linzhi, parrot = seen.characters
    assert (linzhi.name, linzhi.number, linzhi.epochs, linzhi.in_ollama, linzhi.unfinished) == (
        "linzhi",
        1,
        2.0,
        True,
        None,
    )
    assert (parrot.name, parrot.number, parrot.place, parrot.rows) == ("parrot", 1, "data/demo/", 79)
    # 12 of 2 epochs' 40 steps
    assert parrot.unfinished == Unfinished(number=2, percent=30, trained=False, works=False)


def test_how_like_the_character_it_is_is_told_of_the_run_that_stands(home: Path) -> None:
    told = [overview(History(home), {"linzhi": digest}).characters[0].habits for digest in ("d3", "d1", "another's")]
    assert told == [(9, 10), None, None]


def test_without_ollama_it_is_the_run_that_was_published_last(home: Path) -> None:
    linzhi, _ = overview(History(home), None).characters
    assert (linzhi.number, linzhi.in_ollama) == (2, None)
    linzhi, _ = overview(History(home), {"other": "x"}).characters
    assert (linzhi.number, linzhi.in_ollama) == (2, False)


def test_a_model_that_was_made_elsewhere_is_no_runs(home: Path) -> None:
    linzhi, _ = overview(History(home), {"linzhi": "somebody's"}).characters
    assert (linzhi.number, linzhi.in_ollama, linzhi.epochs) == (None, True, None)


def test_records_are_read_no_further_than_it_takes(home: Path) -> None:
    (home / "linzhi" / "1" / "run.json").write_text("{", encoding="utf-8")
    assert overview(History(home), {"linzhi": "d3"}).broken == 0
    seen = overview(History(home), {"linzhi": "d1"})
    assert (seen.broken, seen.characters[0].number) == (1, None)


def test_who_trains_now_is_known_by_the_lock_of_a_living_process(home: Path) -> None:
    holder = home / "parrot" / "holder.json"

    def works(pid: int) -> bool:
        holder.write_text(json.dumps({"pid": pid, "host": socket.gethostname()}), encoding="utf-8")
        unfinished = overview(History(home), None).characters[1].unfinished
        assert unfinished is not None
        return unfinished.works

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert works(os.getpid()) and not works(gone.pid)


def test_a_trained_run_that_is_not_published_is_told_as_that(tmp_path: Path) -> None:
    train(tmp_path, "zzhua", status="failed", trained=True)
    (zzhua,) = overview(History(tmp_path), {}).characters
    assert zzhua.unfinished is not None and zzhua.unfinished.trained


def test_a_run_that_waits_is_told_also_behind_a_declined_one_and_a_declined_one_never(tmp_path: Path) -> None:
    train(tmp_path, "zzhua", status="declined")
    assert overview(History(tmp_path), {}).characters[0].unfinished is None
    train(tmp_path, "zzhua", status="waiting")
    train(tmp_path, "zzhua", status="declined")
    seen = overview(History(tmp_path), {})
    left = seen.characters[0].unfinished
    assert left is not None and (left.number, left.waits) == (2, True)
    page = front_page(seen, "Ollama", "", 80, 24, Marks(unicode=True, colour=False), NOW)
    assert any("zzhua 第 2 次练好了，还没决定用不用，按 3 来决定" in line for line in page)
    train(tmp_path, "zzhua", status="done", digest="d")
    assert overview(History(tmp_path), {}).characters[0].unfinished is None


@pytest.mark.parametrize(
    ("utc", "zh", "en"),
    [
        ("2026-11-27T00:05:00+00:00", "今天 08:05", "today 08:05"),
        ("2026-11-26T13:04:00+00:00", "昨天 21:04", "yesterday 21:04"),
        ("2026-11-25T16:30:00+00:00", "昨天 00:30", "yesterday 00:30"),
        ("2026-11-20T11:30:00+00:00", "11-20 19:30", "11-20 19:30"),
        ("2025-11-20T11:30:00+00:00", "2025-11-20", "2025-11-20"),
        ("2026-11-28T11:30:00+00:00", "11-28 19:30", "11-28 19:30"),
        ("no time", "-", "-"),
    ],
)
def test_times_are_said_as_people_say_them(utc: str, zh: str, en: str) -> None:
    from datetime import timezone

    now = NOW.astimezone(timezone(timedelta(hours=8)))
    for language, wanted in (("zh", zh), ("en", en)):
        words.use_language(language)
        assert spoken_time(utc, now) == wanted
    words.use_language("zh")


# --- Ollama, asked in passing


def test_a_glance_sees_what_ollama_has_whichever_it_is() -> None:
    with running_ollama() as ollama:
        os.environ["OLLAMA_HOST"], before = ollama.url, os.environ.get("OLLAMA_HOST")
        try:
            assert Glance(seconds=30).models() == {}
        finally:
            os.environ.pop("OLLAMA_HOST")
            if before is not None:
                os.environ["OLLAMA_HOST"] = before


def test_a_glance_takes_canonical_names_and_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tags({"linzhi:latest": "d1", "me/zz:v2": "d2"}) as tags:
        monkeypatch.setenv("OLLAMA_HOST", f"http://{tags.host}/")
        assert Glance(seconds=30).models() == {"linzhi": "d1", "me/zz:v2": "d2"}
        monkeypatch.setenv("OLLAMA_HOST", f"http://{tags.host}/elsewhere")
        assert Glance(seconds=30).models() is None


def test_a_glance_waits_no_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tags({}, silent=True) as tags:
        monkeypatch.setenv("OLLAMA_HOST", tags.host)
        glance = Glance(seconds=0.2)
        assert glance.models() is None


# --- the page


def characters(count: int, unfinished: int = 0) -> Overview:
    begun = Unfinished(2, 31, False, False)
    return Overview(
        tuple(
            Character(
                f"character-{number:02}",
                True,
                3,
                3.5,
                "2026-11-26T13:04:00+00:00",
                "/home/somebody/我的文件/对话/",
                87,
                begun if number < unfinished else None,
                (10, 10) if number % 2 else None,
            )
            for number in range(count)
        ),
        0,
    )


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize(("count", "unfinished"), [(0, 0), (1, 1), (10, 2), (50, 9)])
def test_the_page_fits_its_screen(count: int, unfinished: int, width: int, language: str) -> None:
    words.use_language(language)
    marks = Marks(unicode=True, colour=False)
    right = "Ollama ✓ 在运行  显卡 RTX 4070 Laptop GPU，32 GB 内存"
    lines = front_page(characters(count, unfinished), right, "", width, 24, marks, NOW)
    assert max(map(cells, lines)) <= min(80, width)
    if width >= 60:
        assert len(lines) <= 22  # and an empty line before them, and the question
    words.use_language("zh")


def test_a_terminal_without_unicode_and_colours_gets_a_plain_page() -> None:
    words.use_language("en")
    lines = front_page(characters(2, 1), "Ollama", "", 80, 24, Marks(unicode=False, colour=False), NOW)
    assert "\x1b" not in "".join(lines)
    assert not set("★▶─🎭🆕") & set("".join(lines))
    assert any(line.startswith(" * character-00") for line in lines)
    words.use_language("zh")


def test_where_no_card_counted_a_habit_there_is_no_column_for_it() -> None:
    page = front_page(characters(1), "Ollama", "", 80, 24, Marks(unicode=True, colour=False), NOW)
    assert "像不像" not in "".join(page)
    both = front_page(characters(2), "Ollama", "", 80, 24, Marks(unicode=True, colour=False), NOW)
    head, first, second = both[2:5]
    assert "像不像" in head and first.split()[5:7] == ["3.5", "-"] and second.split()[5:7] == ["3.5", "10/10"]
    narrow = front_page(characters(2), "Ollama", "", 60, 24, Marks(unicode=True, colour=False), NOW)
    assert "像不像" not in "".join(narrow) and "character-01" in "".join(narrow)


@pytest.mark.parametrize("columns", [80, 60])
def test_the_page_is_the_mock_up(home: Path, columns: int) -> None:
    with Tags({"linzhi:latest": "d3", "parrot:latest": "p1"}) as tags, start(home, tags.host, columns=columns) as seen:
        page = seen.wait_for("请选择：").screen
        assert "Ollama ✓ 在运行" in page and "没有显卡" in page
        assert " ★ linzhi" in page and "2025-11-24" in page  # in the user's own time zone
        if columns == 80:
            assert "像不像" in page and "9/10" in page
        assert "parrot 还有一次没练完（第 2 次，练到 30%），按 3 可以接着练" in page.replace("\n   ", "")
        assert "2025-11-20" in page and "data/demo/ 79 条" in page
        assert "第一次来" not in page and "6) 📋" in page
        assert seen.send("0", ENTER).finish() == 0


def test_a_fresh_machine_is_shown_the_demo_first(tmp_path: Path) -> None:
    with start(tmp_path / "none", TRAIN_TO_OLLAMA_LANG="en") as seen:
        page = seen.wait_for("Your choice:").screen
        assert "New here? Begin with 5) the demo" in page and "Character" not in page
        assert "Ollama ✗ not " in page
        assert seen.send(ESCAPE).finish() == 0
    assert list(tmp_path.iterdir()) == []


def test_an_ollama_that_does_not_answer_keeps_nobody_waiting(home: Path) -> None:
    with Tags({}, silent=True) as tags, start(home, tags.host) as seen:
        page = seen.wait_for("请选择：").screen
        assert "Ollama ? 没有马上回答" in page
        assert "linzhi   第 2 次" in page and "★" not in page
        assert seen.send("q", ENTER).finish() == 0


def test_a_home_that_can_not_be_read_is_told_and_the_menu_still_comes(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder", encoding="utf-8")
    with start(tmp_path / "runs") as seen:
        page = seen.wait_for("请选择：").screen
        assert "TRAIN_TO_OLLAMA_HOME" in page and "1) 🆕" in page
        assert seen.send("0", ENTER).finish() == 0


# --- answers


@pytest.mark.parametrize("keys", [("0", ENTER), ("０", ENTER), (" 0 ", ENTER), ("q", ENTER), (ESCAPE,), ("\x04",)])
def test_leaving_is_understood_in_every_way(tmp_path: Path, keys: tuple[str, ...]) -> None:
    with start(tmp_path) as seen:
        seen.wait_for("请选择：")
        assert seen.send(*keys).finish() == 0


def test_a_wrong_entry_gives_one_line_and_no_second_page(tmp_path: Path) -> None:
    with start(tmp_path) as seen:
        seen.wait_for("请选择：")
        for wrong in ("18", "parrot 6", "'", "12"):
            seen.send(wrong, ENTER).wait_for(
                f"没有「{wrong.split()[0]}」这一项，请输入 1, 2, 3, 4, 5, 6, 7, 8, 9 或 0。"
            )
            seen.wait_for("请选择：")
        seen.send(ENTER).wait_for("请输入一个数字，再按 Enter；0 退出。").wait_for("请选择：")
        # arrow keys are no Esc, and what is rubbed out is not said
        seen.send("\x1b[A", "９", "中", "\x7f", "\x7f", "3", ENTER)
        seen.wait_for("还没有训练过的角色。先按 1 训练一个，或者按 5 看演示。").wait_for("请选择：")
        assert seen.everything.count("1) 🆕") == 1
        assert seen.send(CTRL_C).finish() == 130


@pytest.mark.parametrize("typed", ["6", "６", " 6 "])
def test_a_choice_is_done_and_the_page_comes_back(home: Path, typed: str) -> None:
    with start(home) as seen:
        seen.wait_for("请选择：").send(typed, ENTER).wait_for("看哪一个").settled().send(ENTER)
        seen.wait_for("空格 选两次对比")
        assert "📋 linzhi" in seen.screen and "2e-4" in seen.screen
        seen.send(ESCAPE).wait_for("看哪一个").settled().send(ESCAPE).wait_for("按 Enter 回到首页：")
        seen.send(ENTER).wait_for("请选择：").send("0", ENTER)
        assert seen.finish() == 0


def test_a_name_may_stand_behind_a_number(home: Path) -> None:
    with start(home) as seen:
        seen.wait_for("请选择：").send("6 parrot", ENTER).wait_for("空格 选两次对比").settled()
        listed = seen.screen.partition("6 parrot")[2]
        assert "📋 parrot" in listed and "linzhi" not in listed
        seen.send(ESCAPE).wait_for("按 Enter 回到首页：")
        assert seen.send("0", ENTER).finish() == 0


def test_a_model_is_chosen_by_number_or_name_and_ctrl_c_goes_back_to_the_page(home: Path) -> None:
    short = {"PATH": "/nowhere", "TRAIN_TO_OLLAMA_SCRIPT": "./quick_start.sh"}
    models = {"linzhi": "d3", "elsewhere": "e", "linzhi:backup-20261101-1": "b"}
    with Tags(models) as tags, start(home, tags.host, **short) as seen:
        seen.wait_for("请选择：").send("7", ENTER).wait_for("编号（0 返回）：")
        assert "1) linzhi\n  2) parrot\n  3) elsewhere\n" in seen.screen and "backup" not in seen.screen
        seen.send("4", ENTER).wait_for("没有这个编号，请输入 0～3。").wait_for("编号（0 返回）：")
        seen.send(CTRL_C).wait_for("请选择：").send("7", ENTER).wait_for("编号（0 返回）：")
        seen.send(ESCAPE).wait_for("请选择：").send("7", ENTER).wait_for("编号（0 返回）：")
        # it is talked to by the program itself; what lists it here can do no more than that
        seen.send("３", ENTER).wait_for("不像 Ollama").wait_for("按 Enter 回到首页：")
        assert seen.send("0", ENTER).finish() != 0


def test_ctrl_c_in_what_was_chosen_comes_back_to_the_page(home: Path) -> None:
    with start(home) as seen:
        seen.wait_for("请选择：").send("1", ENTER).wait_for("没有 Ollama，怎么办")
        seen.send(CTRL_C).wait_for("已取消").wait_for("按 Enter 回到首页：")
        seen.send(ENTER).wait_for("请选择：").send("0", ENTER)
        assert seen.finish() == 0


def test_what_is_typed_ahead_is_for_the_next_question(home: Path) -> None:
    with start(home) as seen:
        seen.wait_for("请选择：").send("12\r9\r")
        seen.wait_for("没有「12」这一项").wait_for("按 Enter 回到首页：", 60)
        assert seen.send("q", ENTER).finish() == 0


# --- without a terminal


def piped(home: Path, *arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wizard.home", *arguments],
        cwd=ROOT,
        env={**os.environ, "LANG": "C.UTF-8", "TRAIN_TO_OLLAMA_LANG": "zh", **environment(home), **more},
        input=given,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_without_a_terminal_the_page_is_plain_and_nothing_waits(home: Path) -> None:
    done = piped(home)
    assert done.returncode == 2
    assert "\x1b" not in done.stdout and "parrot 还有一次没练完" in done.stdout
    assert "./quick_start.sh 3 zzhua" in done.stderr


def test_answers_may_come_from_a_pipe(home: Path) -> None:
    done = piped(home, given="6 parrot\n")
    assert done.returncode == 0
    assert done.stdout.count("1) 🆕") == 2  # before the choice, and after it
    assert piped(home, given="x\n０\n").returncode == 0


@pytest.mark.parametrize("number", ["3", "7"])
def test_without_a_terminal_a_model_has_to_be_named(home: Path, number: str) -> None:
    done = piped(home, number, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"./quick_start.sh {number} zzhua" in done.stderr


def test_a_number_alone_is_done_at_once(home: Path) -> None:
    assert "linzhi" in piped(home, "6").stdout
    with Terminal(["-m", "wizard.home", "3"], environment=environment(home)) as seen:
        seen.wait_for("现在问不到 Ollama，所以只列出有训练记录的模型。").wait_for("编号（0 返回）：").send(CTRL_C)
        assert seen.finish() == 130
    with Terminal(["-m", "wizard.home", "3"], environment=environment(home / "none")) as seen:
        seen.wait_for("还没有训练过的角色")
        assert seen.finish() == 2

"""Run records survive kills, open in later versions, and keep two processes off one name."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_trainer.errors import ResourceError, UsageError
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.run import history, record
from pipeline.run.history import History
from pipeline.run.standing import unfinished
from tests.support.project import ROOT


@pytest.fixture
def runs(tmp_path):
    return History(tmp_path / "家 home")


def begin(runs, name="zzhua", **values):
    run = runs.begin(name, plan=TrainPlan().to_json(), request={})
    run.update(**values)
    return run


def test_runs_are_numbered_for_each_name_and_found_again(runs):
    first, second, other = begin(runs), begin(runs), begin(runs, "other:v2")
    assert (first.number, second.number, other.number) == (1, 2, 1)
    assert [run.number for run in runs.runs("ZZhua")] == [1, 2]
    assert runs.names() == ["other:v2", "zzhua"]
    assert runs.newest("zzhua").folder == second.folder
    assert runs.runs("nobody") == [] and runs.newest("nobody") is None


def test_no_number_is_given_twice_where_a_runs_folder_was_deleted(runs):
    for _ in range(3):
        last = begin(runs)
    shutil.rmtree(runs.runs("zzhua")[0].folder)
    assert begin(runs).number == 4
    assert [run.number for run in runs.runs("zzhua")] == [2, 3, 4]
    notes = last.folder.parent / "notes of mine" / "ideas.txt"
    notes.parent.mkdir()
    notes.write_text("more rows", encoding="utf-8")
    assert begin(runs).number == 5


def test_a_run_that_was_killed_before_its_first_record_gives_its_number_to_the_next(runs):
    begin(runs)
    killed = runs.home / "zzhua" / "2"
    killed.mkdir()
    (killed / "run.json.new").write_text('{"sch', encoding="utf-8")
    assert begin(runs).number == 2
    (runs.home / "zzhua" / "3" / "adapter").mkdir(parents=True)
    assert begin(runs).number == 4


def test_the_tenth_run_comes_after_the_ninth(runs):
    for _ in range(10):
        begin(runs)
    assert [run.number for run in runs.runs("zzhua")] == list(range(1, 11)) and runs.newest("zzhua").number == 10
    assert begin(runs).number == 11


def test_the_journal_keeps_what_a_stage_brought(runs):
    run = begin(runs)
    run.mark_done("train", 12.345, training={"steps": 3})
    again = runs.newest("zzhua")
    assert again.has_done("train") and not again.has_done("export") and not again.is_published
    assert again.record["training"] == {"steps": 3}
    assert again.record["stages"]["train"]["seconds"] == 12.35 or again.record["stages"]["train"]["seconds"] == 12.34


def test_a_half_written_record_is_passed_over_and_never_made(runs):
    run = begin(runs)
    (run.folder / "run.json.new").write_text('{"half', encoding="utf-8")
    assert runs.newest("zzhua").number == 1
    broken = begin(runs)
    (broken.folder / "run.json").write_text('{"half', encoding="utf-8")
    assert [found.number for found in runs.runs("zzhua")] == [1]
    assert begin(runs).number == 3


def test_a_write_that_fails_half_way_leaves_the_old_record(runs):
    class Unspeakable:
        def __str__(self):
            raise TypeError

    run = begin(runs, loss=1.5)
    with pytest.raises(TypeError):
        run.update(loss=2.5, unspeakable=Unspeakable())
    assert runs.newest("zzhua").record["loss"] == 1.5


def _keep_writing(folder):
    run = history.Run(Path(folder), {"number": 1, "stages": {}, "padding": "x" * 20000})
    count = 0
    while True:
        count += 1
        run.update(count=count)


def test_a_kill_in_the_middle_of_writing_leaves_a_whole_record(tmp_path):
    for delay in (0.05, 0.11, 0.17):
        process = multiprocessing.get_context("spawn").Process(target=_keep_writing, args=(str(tmp_path),))
        process.start()
        while not (tmp_path / "run.json").exists():
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.join()
        assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["count"] >= 1


def test_a_record_of_a_later_version_bars_its_own_model_alone(runs):
    begin(runs)
    later = begin(runs)
    later.update(schema=record.SCHEMA + 1)
    other = begin(runs, "fern")
    with pytest.raises(UsageError) as refused:
        runs.newest("zzhua")
    assert refused.value.key == "error.record.newer"
    assert (refused.value.values["number"], refused.value.values["path"]) == (2, later.folder / "run.json")
    assert [run.number for run in runs.runs("fern")] == [1] and "fern" in runs.names()
    other.update(publications=[{"digest": "abc"}])
    assert runs.digests() == {"abc"}
    assert [(run.name, run.number, run.schema) for run in runs.broken()] == [("zzhua", 2, record.SCHEMA + 1)]


def test_an_older_record_opens(runs, monkeypatch):
    begin(runs).update(schema=1)
    monkeypatch.setattr(history, "SCHEMA", 3)
    monkeypatch.setattr(record, "SCHEMA", 3)
    monkeypatch.setattr(
        record, "MIGRATIONS", {1: lambda r: {**r, "schema": 2, "a": 1}, 2: lambda r: {**r, "schema": 3, "b": r["a"]}}
    )
    assert runs.newest("zzhua").record["b"] == 1


def test_a_record_of_schema_1_knows_its_publication_from_then_on(runs):
    ollama = {"digest": "abc", "gguf": "def", "backup": None, "stops": True, "host": "h", "version": "0.33"}
    run = begin(runs, ollama=ollama, stages={"publish": {"finished": "2026-11-27T05:00:00+00:00", "seconds": 1}})
    del run.record["publications"]
    run.update(schema=1)
    again = runs.newest("zzhua")
    assert again.digests == {"abc"} and again.is_published
    assert again.publications[0]["finished"] == "2026-11-27T05:00:00+00:00"
    run.update(stages={})
    assert not runs.newest("zzhua").is_published


def test_a_second_process_is_told_at_once_who_holds_the_name(runs, monkeypatch):
    hold = (
        "import sys; from pathlib import Path; from pipeline.run.history import History\n"
        f"with History(Path({str(runs.home)!r})).lock('zzhua'):\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr(time, "sleep", None)  # at once: nobody waits
        with pytest.raises(UsageError) as refused, runs.lock("zzhua"):
            pass
        assert refused.value.key == "error.lock.held" and refused.value.values["pid"] == holder.pid
        with runs.lock("other"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with runs.lock("zzhua"):
        pass


def test_a_holder_that_is_half_written_is_a_holder_nobody_knows(runs):
    with runs.lock("zzhua"):
        (runs.home / "zzhua" / "holder.json").write_text('{"pid": 1', encoding="utf-8")
        with pytest.raises(UsageError) as refused, History(runs.home).lock("zzhua"):
            pass
    assert (refused.value.key, refused.value.values["pid"]) == ("error.lock.held", "?")


def test_a_lock_that_nothing_came_of_leaves_nothing_behind(tmp_path):
    home = tmp_path / "a" / "runs"
    with History(home).lock("zzhua"):
        assert {path.name for path in (home / "zzhua").iterdir()} == {"lock", "holder.json"}
    assert not home.exists()
    home.mkdir()  # the user's own folder stays
    with History(home).lock("zzhua"):
        pass
    assert list(home.iterdir()) == []
    with History(home).lock("zzhua"):
        History(home).begin("zzhua", plan={}, request={})
    assert {path.name for path in (home / "zzhua").iterdir()} == {"lock", "1"}


def test_a_lock_whose_folder_is_removed_meanwhile_is_taken_all_the_same(runs, monkeypatch):
    taken, real = [], Path.mkdir

    def mkdir(path, *mode, **how):
        real(path, *mode, **how)
        if path.name == "zzhua" and not taken:
            taken.append(path)
            path.rmdir()  # as another process does that ends now

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with runs.lock("zzhua"):
        assert (runs.home / "zzhua" / "holder.json").exists()
    assert taken


def test_a_folder_that_is_removed_while_it_is_made_is_made_again(runs, monkeypatch):
    refused, real = [], Path.mkdir

    def mkdir(path, *mode, **how):
        if path.name == "zzhua" and len(refused) < 20:
            refused.append(path)
            raise FileExistsError(17, "File exists", str(path))  # and a moment later it is gone
        real(path, *mode, **how)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with runs.lock("zzhua"):
        assert (runs.home / "zzhua" / "holder.json").exists()
    assert len(refused) == 20


def test_a_file_in_the_place_of_a_models_folder_is_told(runs):
    runs.home.mkdir(exist_ok=True)
    (runs.home / "zzhua").write_text("a file")
    with pytest.raises(ResourceError) as told, runs.lock("zzhua"):
        pass
    assert told.value.key == "error.home.unusable"


def test_names_that_are_locked_and_let_go_in_turn_have_one_holder_at_a_time(tmp_path):
    """Three processes take and let go of a name that nothing is kept of: each sees itself as the only one."""
    worker = (
        "import sys, time; from pathlib import Path; from lora_trainer.errors import UsageError\n"
        "from pipeline.run.history import History\n"
        f"home, mark = Path({str(tmp_path / 'runs')!r}), Path({str(tmp_path / 'mark')!r})\n"
        "done = 0\n"
        "while done < 25:\n"
        "    try:\n"
        "        with History(home).lock('zzhua'):\n"
        "            mark.touch(exist_ok=False); time.sleep(0); mark.unlink(); done += 1\n"
        "    except UsageError as error:\n"
        "        assert error.key == 'error.lock.held', error.key\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", worker], cwd=ROOT) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert not (tmp_path / "runs" / "zzhua").exists()


@pytest.mark.posix("the time zone of a process can't be changed here")
def test_a_holders_time_is_the_users_own(runs, monkeypatch):
    monkeypatch.setenv("TZ", "CST-8")
    time.tzset()
    try:
        with runs.lock("zzhua"):
            holder = '{"pid": 1, "host": "h", "since": "2026-11-24T14:35:56+00:00"}'
            (runs.home / "zzhua" / "holder.json").write_text(holder, encoding="utf-8")
            with pytest.raises(UsageError) as refused, History(runs.home).lock("zzhua"):
                pass
        assert refused.value.values["since"] == "2026-11-24 22:35"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_same_request_is_known_again_and_another_is_not(runs):
    request = Request(ollama_name="zzhua", epochs=3.0)
    run = runs.begin("zzhua", plan=TrainPlan().to_json(), request=request.identity, strategy=None)
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=3.0, yes=True, json=True), "zzhua").number == 1
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=4.0), "zzhua") is None
    assert unfinished(runs, Request(ollama_name="zzhua", resume=True), "zzhua").number == 1
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=3.0, restart=True), "zzhua") is None
    run.update(status="done")
    assert unfinished(runs, request, "zzhua") is None


def test_the_home_folder_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAIN_TO_OLLAMA_HOME", str(tmp_path / "elsewhere"))
    assert History().home == tmp_path / "elsewhere"
    monkeypatch.delenv("TRAIN_TO_OLLAMA_HOME")
    assert History().home == ROOT / "runs"

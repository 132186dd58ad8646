"""What takes room is found, and goes as it was chosen: alone, and never by halves."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import ignore
from pipeline.cleaning.removing import delete_whole, remove, whole
from pipeline.cleaning.survey import Survey, survey
from pipeline.cleaning.things import Thing, size_of
from pipeline.temporary import left_by_the_dead, own_folder
from tests.pipeline.cleaning.conftest import Home, ago, fill
from tests.support.past_runs import BASE, record_run


def look(home: Home) -> Survey:
    return survey(home.history, home.client)


def kinds(found: Survey) -> list[str]:
    return sorted(thing.kind for thing in found.things)


def only(found: Survey, kind: str) -> Thing:
    (thing,) = [thing for thing in found.things if thing.kind == kind]
    return thing


def take(home: Home, kind: str) -> None:
    remove(only(look(home), kind), home.history, home.client, ignore)


def test_everything_that_takes_room_is_listed_with_what_it_gives_back(home: Home) -> None:
    found = look(home)
    assert kinds(found) == ["checkpoints", "ggufs", "unfinished", "waiting"]
    assert only(found, "checkpoints").runs == (1, 2) and only(found, "checkpoints").bytes == 6_000_000
    assert only(found, "ggufs").runs == (2,) and only(found, "ggufs").bytes == 5_000_000
    assert only(found, "unfinished").runs == (3,) and only(found, "unfinished").proposed
    assert only(found, "waiting").bytes == 8_000_000 and not only(found, "waiting").proposed
    assert found.taken == size_of([home.history.home]) and found.ollama is None and found.safe == ()
    home.unfinished.update(created=ago(3))
    assert not only(look(home), "unfinished").proposed


def test_each_kind_goes_alone(home: Home) -> None:
    take(home, "unfinished")
    assert home.runs() == {1: "done", 2: "done", 4: "waiting"}
    take(home, "checkpoints")
    assert not (home.first.folder / "checkpoints").exists() and (home.first.folder / "adapter").is_dir()
    assert (home.waiting.folder / "checkpoints").is_dir()
    take(home, "ggufs")
    assert not list(home.second.folder.glob("*.gguf")) and list(home.waiting.folder.glob("*.gguf"))
    take(home, "waiting")
    assert home.runs() == {1: "done", 2: "done", 4: "declined"}
    assert not list(home.waiting.folder.glob("*.gguf")) and (home.waiting.folder / "adapter").is_dir()
    assert kinds(look(home)) == []


def test_older_backups_of_runs_are_proposed_and_what_nobody_can_make_again_is_not(home: Home, tiny_gguf: Path) -> None:
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    home.client.create_from_file("linzhi", tiny_gguf, digest, system="别处做的")
    for run in (home.first, home.second, home.first):
        home.publish(run, tiny_gguf, digest, system=f"{run.number} {len(run.publications)}")
    found = look(home)
    assert only(found, "old_backups").proposed and not only(found, "backup").proposed
    assert [name for name, _ in only(found, "old_backups").tags] == ["linzhi:backup-20260101-2"]
    assert [name for name, _ in only(found, "backup").tags] == ["linzhi:backup-20260101-3"]
    assert [name for name, _ in only(found, "foreign_backup").tags] == ["linzhi:backup-20260101-1"]
    # all of them have the weights of what stands
    assert only(found, "old_backups").bytes == 0
    take(home, "old_backups")
    names = sorted(model["name"] for model in home.client.tags())
    assert names == ["linzhi:backup-20260101-1", "linzhi:backup-20260101-3", "linzhi:latest"]


def test_a_backup_that_has_changed_since_it_was_looked_at_stays(home: Home, tiny_gguf: Path) -> None:
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    for run in (home.first, home.second):
        home.publish(run, tiny_gguf, digest, system=str(run.number))
    thing = only(look(home), "backup")
    home.client.create("linzhi:backup-20260101-1", from_="linzhi", system="another")
    with pytest.raises(UsageError) as caught:
        remove(thing, home.history, home.client, ignore)
    assert caught.value.key == "error.clean.changed"
    assert home.client.exists("linzhi:backup-20260101-1")


def test_an_ollama_that_is_down_is_said_and_the_rest_is_listed(home: Home) -> None:
    home.server.stop()
    found = look(home)
    assert isinstance(found.ollama, OllamaError) and "checkpoints" in kinds(found)


def _hold(home: Path, ready: multiprocessing.synchronize.Event, go: multiprocessing.synchronize.Event) -> None:
    from pipeline.run.history import History

    with History(home).lock("linzhi"):
        ready.set()
        go.wait(120)


def test_what_somebody_works_on_is_neither_listed_nor_touched(home: Home) -> None:
    thing = only(look(home), "unfinished")
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(home.history.home, ready, go))
    holder.start()
    try:
        assert ready.wait(300)
        found = look(home)
        assert found.busy == ("linzhi",) and found.things == ()
        with pytest.raises(UsageError) as caught:
            remove(thing, home.history, home.client, ignore)
        assert caught.value.key == "error.lock.held"
    finally:
        go.set()
        holder.join(60)
    assert home.runs()[3] == "interrupted" and look(home).busy == ()


def test_leftovers_of_killed_processes_are_what_nobody_can_miss(home: Home) -> None:
    left = [
        fill(home.first.folder / "run.json.new", 10),
        fill(home.first.folder / "linzhi.gguf.part", 1000),
        fill(home.first.folder / "talk.gguf", 1000),
        fill(home.second.folder / "checkpoints" / "writing" / "x", 10).parent,
        fill(home.second.folder / "checkpoints" / "deleting-3" / "x", 10).parent,
        fill(home.history.folder_of("linzhi") / "adopting-0" / "run.json", 10).parent,
        fill(home.history.folder_of("linzhi") / "deleting-0" / "run.json", 10).parent,
        fill(home.history.folder_of("linzhi") / "corrections.jsonl.new", 10),
    ]
    corrections = fill(home.history.folder_of("linzhi") / "corrections.jsonl", 10)
    adapter = fill(home.second.folder / "adapter.new" / "adapter_model.safetensors", 10).parent
    found = look(home)
    assert set(only(found, "leftovers").paths) == set(left) and found.safe == (only(found, "leftovers"),)
    take(home, "leftovers")
    assert not any(path.exists() for path in left) and corrections.exists()
    # between two renames it is all there is of the adapter, which can't be read here
    assert adapter.exists() and home.runs().keys() == {1, 2, 3, 4}


def test_temporary_folders_are_known_by_their_process(home: Home) -> None:
    with own_folder("rehearsal") as mine:
        gone = Path(mine.replace(f"-{os.getpid()}-", "-999999999-"))
        fill(gone / "tiny.gguf", 1000)
        others = [fill(Path(tempfile.gettempdir()) / name / "x", 1).parent for name in ("rehearsal-1", "tmpabc")]
        assert left_by_the_dead() == [gone]
        take(home, "temporary")
        assert not gone.exists() and Path(mine).exists() and all(path.exists() for path in others)
    assert socket.gethostname() not in mine


def test_base_models_of_no_character_are_listed_and_never_proposed(home: Home) -> None:
    used, free = home.download(str(BASE["source"])), home.download("Qwen/Qwen3-0.6B")
    home.download("BAAI/bge-small", speaks=False)
    thing = only(look(home), "base")
    assert (thing.name, thing.bytes > 7_000_000, thing.proposed, thing.safe) == ("Qwen/Qwen3-0.6B", True, False, False)
    # one that a run names by where it lies is used, too
    record_run(home.history.home, ago(1), 2.0, name="other", base={**BASE, "source": str(free / "snapshots" / "x")})
    assert "base" not in kinds(look(home))
    shutil.rmtree(home.history.folder_of("other"))
    take(home, "base")
    assert used.is_dir() and not free.exists() and kinds(look(home)).count("base") == 0


def test_a_kill_in_the_middle_leaves_nothing_that_looks_whole(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(_: object, **__: object) -> None:
        raise Killed

    found = look(home)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        for kind in ("unfinished", "checkpoints"):
            with pytest.raises(Killed):
                remove(only(found, kind), home.history, home.client, ignore)
    assert home.runs() == {1: "done", 2: "done", 4: "waiting"}
    assert not (home.first.folder / "checkpoints").exists()
    assert home.history.broken() == []
    left = only(look(home), "leftovers")
    assert left.safe and len(left.paths) == 2
    take(home, "leftovers")
    assert not list(home.history.folder_of("linzhi").glob("deleting-*"))


def test_a_character_goes_whole(home: Home, tiny_gguf: Path) -> None:
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    for run in (home.first, home.second):
        home.publish(run, tiny_gguf, digest, system=str(run.number))
    home.client.copy("linzhi", "mine")
    record_run(home.history.home, ago(1), 2.0, name="other", base={**BASE, "source": "ollama:linzhi"})
    fill(home.history.folder_of("linzhi") / "corrections.jsonl", 10)
    found = whole("linzhi", home.history, home.client)
    assert found.tags == ("linzhi", "linzhi:backup-20260101-1") and found.runs == 4 and found.needed_by == ("other",)
    delete_whole(found, home.history, home.client)
    assert [model["name"] for model in home.client.tags()] == ["mine:latest"]
    assert home.history.names() == ["other"] and not home.history.folder_of("linzhi").exists()


def test_a_character_that_stands_in_an_ollama_that_is_down_stays(home: Home) -> None:
    home.first.update(publications=[{"digest": "a", "gguf": "b", "finished": ago(1), "order": 1}])
    home.server.stop()
    with pytest.raises(OllamaError):
        whole("linzhi", home.history, home.client)
    home.first.update(publications=[])
    delete_whole(whole("linzhi", home.history, home.client), home.history, home.client)
    assert not home.history.home.exists() or home.history.names() == []

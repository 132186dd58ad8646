"""`--rollback`, `--verify`, `--history` and `--dry_run` by the real command line, with a model and its backup there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.models.recorded import base_record
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from ollama_export.server.client import OllamaClient
from pipeline.run.history import History
from tests.ollama_server.server import OllamaServer
from tests.support.project import ROOT
from tests.support.tiny import make_speaker

PLAN = TrainPlan(epochs=3.0, learning_rate=1e-4, lora_rank=16)


class Backed:
    """A home and an Ollama in which `zzhua` was replaced: its backup is there, and the records of both runs."""

    def __init__(self, folder: Path, server: OllamaServer, gguf: Path) -> None:
        self.folder, self.server, self.client = folder, server, OllamaClient(server.url)
        self.history = History(folder / "runs")
        self.gguf = gguf
        self.base = make_speaker(folder / "base")
        digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
        self.client.upload(gguf, digest)
        for system in ("the first", "the second"):
            if self.client.exists("zzhua"):
                self.client.copy("zzhua", "zzhua:backup-20260101-1")
            self.client.create("zzhua", files={"m.gguf": digest}, system=system)
            base = base_record(resolve_base_model(str(self.base)))
            values = {"plan": PLAN.to_json(), "base": base, "strategy": None, "request": {}, "warm_start": None}
            values |= {"quantize": "q8_0", "parameters": {}, "keep_chat_template": False, "system": None}
            values["data"] = {"fingerprint": "?", "files": {str(folder / "data" / "train.jsonl"): {}}}
            run = self.history.begin("zzhua", **values)
            run.mark_done("train", 1, training={"losses": [[1, 2.5]], "val_losses": []})
            entry = {"digest": self.client.digest("zzhua"), "gguf": None, "backup": None, "finished": "2026-01-01"}
            run.mark_done("publish", 1, publications=[{**entry, "order": run.number}])
            run.update(status="done")
        row = {"messages": [{"role": "user", "content": "在吗"}, {"role": "assistant", "content": "在"}]}
        (folder / "data").mkdir()
        (folder / "data" / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        server.requests.clear()

    @property
    def tags(self) -> dict[str, str]:
        return {model["name"]: model["digest"] for model in self.client.tags()}

    def run(self, *flags: str, **environment: str) -> dict[str, Any]:
        """What the program tells with --json; its exit code is in it too."""
        home = {"TRAIN_TO_OLLAMA_HOME": str(self.history.home), "OLLAMA_HOST": self.server.url}
        done = subprocess.run(
            [sys.executable, str(ROOT / "train_to_ollama.py"), "--ollama_name", "zzhua", "--json", *flags],
            cwd=self.folder,
            env={**os.environ, **home, "TRAIN_TO_OLLAMA_LANG": "en", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["exit_code"] == done.returncode
        return told


@pytest.fixture
def backed(tmp_path: Path, ollama_server: OllamaServer, tiny_gguf: Path) -> Backed:
    return Backed(tmp_path, ollama_server, tiny_gguf)


@pytest.mark.parametrize("flag", ["--rollback", "--verify", "--register_only"])
def test_a_dry_run_of_what_looks_or_goes_back_is_refused_and_asks_ollama_nothing(backed: Backed, flag: str) -> None:
    before = {path: path.read_bytes() for path in backed.folder.rglob("run.json")}
    for flags in (["--dry_run", flag], [flag, "--dry-run"]):
        told = backed.run(*flags)
        assert (told["exit_code"], told["error"]["key"]) == (2, "error.flag.contradiction")
        assert "--dry_run" in told["error"]["message"] and flag in told["error"]["message"]
    assert backed.server.requests == []
    assert {path: path.read_bytes() for path in backed.folder.rglob("run.json")} == before


def test_rollback_swaps_and_history_shows_it(backed: Backed) -> None:
    before = backed.tags
    told = backed.run("--rollback")
    assert (told["exit_code"], told["backup"], told["run"]) == (0, "zzhua:backup-20260101-1", 1)
    kept = {told["kept"]: before["zzhua:latest"]}
    assert backed.tags == {**dict.fromkeys(before, before["zzhua:backup-20260101-1"]), **kept}
    shown = backed.run("--history")
    assert [(run["run"], run["loss"], run["stands"]) for run in shown["runs"]] == [(1, 2.5, True), (2, 2.5, False)]
    again = backed.run("--rollback")
    assert (again["exit_code"], again["error"]["key"]) == (5, "error.publish.no_older_backup")
    backed.server.stop()
    shown = backed.run("--history")
    assert [run["stands"] for run in shown["runs"]] == [None, None]


def test_a_dry_run_of_a_training_starts_no_ollama_and_leaves_no_trace(backed: Backed) -> None:
    backed.server.stop()
    program = backed.folder / "bin" / "ollama"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ntouch "{backed.folder}/started"\nexit 1\n', encoding="utf-8")
    program.chmod(0o755)
    files = sorted(backed.folder.rglob("*"))
    told = backed.run("--dry_run", "--add_epochs", "1.5", PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert (told["exit_code"], told["status"], told["plan"]["epochs"]) == (0, "dry_run", 4.5)
    assert sorted(backed.folder.rglob("*")) == files


@pytest.mark.parametrize(
    ("flags", "numbers", "source"),
    [
        (["--continue_train", "--add_epochs", "1.5"], (4.5, 1e-4, 16), "record"),
        (
            ["--on_exists", "continue", "--lora_dropout", "0.1", "--strategy", "custom", "--yes"],
            (3.0, 1e-4, 16),
            "strategy",
        ),
        (["--force"], (2.0, 2e-4, 8), "default"),
        (["--on_exists", "overwrite"], (2.0, 2e-4, 8), "default"),
    ],
    ids=str,
)
def test_a_continuation_keeps_the_recorded_numbers_and_an_overwriting_does_not(
    backed: Backed, flags: list[str], numbers: tuple[float, float, int], source: str
) -> None:
    another = Path(shutil.copytree(backed.base, backed.folder / "another"))
    told = backed.run("--dry_run", *flags)
    plan = told["plan"]
    assert (plan["epochs"], plan["learning_rate"], plan["lora_rank"]) == numbers
    assert (plan["sources"]["learning_rate"], told["base_model"]) == (source, str(backed.base))
    assert backed.run("--dry_run", *flags, "--base_model", str(another))["base_model"] == str(another)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--strategy", "incremental", "--epochs", "4"], "--add_epochs"),
        (["--strategy", "incremental", "--ladder", "2,3"], "--add_epochs"),
        (["--warm_start", "--from_scratch"], "--from_scratch"),
    ],
    ids=str,
)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_can_not_be_meant_ends_with_two_and_the_flag_that_is(
    backed: Backed, flags: list[str], words: str, language: str
) -> None:
    told = backed.run("--continue_train", *flags, "--lang", language)
    assert told["exit_code"] == 2 and words in told["error"]["message"]
    assert backed.server.requests == [] and len(backed.history.runs("zzhua")) == 2

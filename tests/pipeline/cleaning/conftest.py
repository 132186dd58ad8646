"""A home in which there is something of every kind to clean up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.run.history import History, Run
from tests.ollama_server.server import OllamaServer
from tests.support.past_runs import record_run

NOW = datetime.now(UTC)
"""Ages are told from the present: a day is far from a month."""


def ago(days: int) -> str:
    return (NOW - timedelta(days=days)).isoformat(timespec="seconds")


def fill(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


class Home:
    """`linzhi` has two finished runs, one that wasn't ended long ago, and one that waits."""

    def __init__(self, folder: Path, server: OllamaServer) -> None:
        self.folder = folder
        self.history = History(folder / "运行 runs")
        self.cache = folder / "缓存 hub"
        self.client = OllamaClient(server.url)
        self.server = server
        self.first = record_run(self.history.home, ago(90), 2.0, checkpoint=40)
        self.second = record_run(self.history.home, ago(80), 3.5, checkpoint=60)
        self.unfinished = record_run(self.history.home, ago(60), 5.0, trained=False, status="interrupted", checkpoint=9)
        self.waiting = record_run(self.history.home, ago(1), 4.0, status="waiting", checkpoint=70)
        for run, step in ((self.first, 40), (self.second, 60), (self.unfinished, 9), (self.waiting, 70)):
            fill(run.folder / "checkpoints" / f"checkpoint-{step}" / "optimizer.pt", 3_000_000)
        for run in (self.second, self.waiting):
            fill(run.folder / "linzhi.gguf", 5_000_000)
            (run.folder / "Modelfile").write_text("FROM linzhi.gguf\n", encoding="utf-8")
        for run in (self.first, self.second, self.waiting):
            fill(run.folder / "adapter" / "adapter_model.safetensors", 1000)

    def runs(self) -> dict[int, str]:
        return {run.number: run.record["status"] for run in self.history.runs("linzhi")}

    def publish(self, run: Run, gguf: Path, digest: str, **more: Any) -> str:
        """Let a run's model stand under the name, the one before as its backup."""
        if (stood := self.client.digest("linzhi")) is not None:
            number = sum("backup" in model["name"] for model in self.client.tags()) + 1
            self.client.copy("linzhi", f"linzhi:backup-20260101-{number}")
            assert stood
        self.client.create_from_file("linzhi", gguf, digest, **more)
        now = self.client.digest("linzhi")
        assert now is not None
        entry = {"digest": now, "gguf": digest, "backup": None, "finished": ago(1), "order": run.number}
        run.update(publications=[*run.publications, entry])
        return now

    def download(self, source: str, *, speaks: bool = True) -> Path:
        """A model in the cache of Hugging Face."""
        repo = self.cache / f"models--{source.replace('/', '--')}"
        snapshot = repo / "snapshots" / ("a" * 40)
        fill(snapshot / "model.safetensors", 7_000_000)
        named = "Qwen2ForCausalLM" if speaks else "BertModel"
        (snapshot / "config.json").write_text(json.dumps({"architectures": [named]}), encoding="utf-8")
        return repo


@pytest.fixture
def home(tmp_path: Path, ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> Home:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    made = Home(tmp_path, ollama_server)
    monkeypatch.setenv("HF_HUB_CACHE", str(made.cache))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    return made

"""What is to be seen on each picture: a program at a terminal, and the keys up to there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.past_runs import published, record_run, record_runs
from tests.support.project import ROOT
from tests.support.terminal import Terminal
from tests.wizard.test_home import Tags

REAL = ROOT / "tests" / "data" / "pictures" / "linzhi.json"
"""The record of a training that took place: Qwen2.5-Coder-0.5B on the dialogues of data/, 2.0 epochs on two cores."""


@dataclass(frozen=True)
class Scene:
    """A picture with `title` above it; `play` brings a terminal there, and ends it when it is gone on with."""

    play: Callable[[Place], Iterator[Terminal]]
    title: dict[str, str]
    columns: int = 80
    rows: int = 24
    languages: tuple[str, ...] = ("zh", "en")


@dataclass(frozen=True)
class Place:
    """Where a picture is taken: a folder of its own, the language, and the terminal's size."""

    folder: Path
    language: str
    columns: int
    rows: int

    def terminal(self, *words: str, host: str = "127.0.0.1:9", **more: str) -> Terminal:
        """Python with these words, with the runs of this place."""
        said = {
            "TRAIN_TO_OLLAMA_HOME": str(self.home),
            "TRAIN_TO_OLLAMA_LANG": self.language,
            "OLLAMA_HOST": host,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(self.folder / "hub"),
            "TRAIN_TO_OLLAMA_SCRIPT": "./quick_start.sh",
            "TZ": "CST-8",
            **more,
        }
        return Terminal(words, columns=self.columns, rows=self.rows, environment=said)

    @property
    def home(self) -> Path:
        """Where the runs are."""
        return self.folder / "runs"

    @contextmanager
    def ollama(self) -> Iterator[str]:
        """An Ollama in which the third run of 林栀 and the first of the parrot stand; its host."""
        with Tags({"linzhi:latest": f"{3:064x}", "biscuit:latest": f"{9:064x}"}) as tags:
            yield tags.host


def characters(place: Place) -> None:
    """Five runs of 林栀 and one of the parrot."""
    record_runs(place.home)
    files = {"data/demo/train.jsonl": {"rows": 79, "sha256": "p"}, "data/demo/val.jsonl": {"rows": 12, "sha256": "q"}}
    data = {"train_file": "data/demo/train.jsonl", "val_file": "data/demo/val.jsonl", "files": files, "rows": 79}
    data |= {"val_rows": 12, "turns": 87, "fingerprint": "p", "change": None, "split": False}
    record_run(place.home, "2026-11-20T11:30:00+00:00", 2.0, name="biscuit", data=data, seconds=74.0, **published(9))


def home(place: Place) -> Iterator[Terminal]:
    """The front page."""
    characters(place)
    with place.ollama() as host, place.terminal("-m", "wizard.home", host=host) as terminal:
        yield terminal.wait_for("0)").settled()


def history(place: Place) -> Iterator[Terminal]:
    """All runs of a character."""
    characters(place)
    words = ("train_to_ollama.py", "--history", "--ollama_name", "linzhi")
    with place.ollama() as host, place.terminal(*words, host=host) as terminal:
        yield terminal.wait_for("linzhi").wait_for("Esc").settled()


def real(place: Place, *, stands: bool = False) -> None:
    """The run of a training that took place, as it is recorded in tests/data/pictures; its answers are the model's."""
    folder = place.home / "linzhi" / "1"
    folder.mkdir(parents=True)
    record = json.loads(REAL.read_text(encoding="utf-8"))
    if stands:
        record |= {"status": "done", "point": None, **published(3)}
        record["stages"]["publish"] = {"finished": record["stages"]["train"]["finished"], "seconds": 9.0}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")


def exists(place: Place) -> Iterator[Terminal]:
    """The four choices where a model is there."""
    real(place, stands=True)
    with place.ollama() as host, place.terminal("train_to_ollama.py", "--ollama_name", "linzhi", host=host) as terminal:
        yield terminal.wait_for("4) ❌").settled()


def shown(place: Place, code: str, *words: str, moves_from: str = "") -> Iterator[Terminal]:
    """What a screen shows that some code tells; `moves_from`: what is seen of a picture that never comes to an end."""
    begin = "from wizard.screen.screen import Screen\nfrom wizard.words import use_language\nimport sys\n"
    code = begin + f"use_language({place.language!r})\nscreen = Screen()\n" + code
    with place.terminal("-c", code, *words) as terminal:
        if moves_from:
            terminal.wait_for(moves_from)
        else:
            assert terminal.finish() == 0, terminal.everything
        yield terminal


def plan(place: Place) -> Iterator[Terminal]:
    """All that is decided, before it begins."""
    code = "from tests.support.screen_show import incremental_plan\nscreen.plan(incremental_plan())\n"
    return shown(place, code)


def training(place: Place) -> Iterator[Terminal]:
    """The losses, and what it answers by now."""
    code = "from tests.pictures.scenes import tell_a_training\ntell_a_training(screen, sys.argv[1])\n"
    return shown(place, code, place.language, moves_from="51/77")


def tell_a_training(screen: Any, language: str) -> None:
    """Up to the fifty-first of 77 steps, and wait there."""
    import math
    import sys

    from lora_trainer.events import Evaluated, Sampled, StageStarted, StepBegun, StepDone, TrainingStarted

    question, answers = SAMPLES[language]
    screen.listen(StageStarted("train", "linzhi"))
    sizes = (77, 0, 22, 87, 110, 9_345)
    screen.listen(TrainingStarted(*sizes, "x86_64, 2 threads", "float32", 4_400_000, val_dialogues=14))
    screen.listen(Evaluated(0, 0.0, 3.18, best=False))
    for step in range(1, 52):
        screen.listen(StepBegun(step))
        loss = 2.2 + math.exp(-step / 12) + 0.08 * math.sin(7 * step)
        screen.listen(StepDone(step, 77, step / 22, loss, 2e-4, 46.0, (77 - step) * 19.0, 2_900_000_000))
        if step % 11 == 0:
            screen.listen(Evaluated(step, step / 22, 2.38 + 0.8 * math.exp(-step / 14), best=True))
            screen.listen(Sampled(step, step / 22, question, answers[step // 11 - 1], True))
    screen.listen(StepBegun(52))
    sys.stdin.readline()


SAMPLES = {
    "zh": (
        "你好，请介绍一下自己",
        ("我叫林栀。", "（低头）我叫林栀。", "（捏着衣角）我、我叫林栀。", "（低头理了理围裙）我、我叫林栀……"),
    ),
    "en": (
        "Hello, please introduce yourself",
        ("I am Biscuit.", "I am Biscuit, your helper.", "Arrr! I am Biscuit.", "Arrr! Biscuit be me name, squawk!"),
    ),
}
"""Examples of what a model says while it learns, made up for the picture."""


def comparison(place: Place) -> Iterator[Terminal]:
    """What a model said before and after its training."""
    real(place)
    words = ("train_to_ollama.py", "--ollama_name", "linzhi", "--compare_only", "--run", "1")
    with place.terminal(*words) as terminal:
        yield terminal.wait_for("Enter").settled()


def card(place: Place) -> Iterator[Terminal]:
    """The report card of a training."""
    code = "from tests.wizard.page.records import card\nscreen.card(card(), 'linzhi', 3)\n"
    return shown(place, code)


SCENES = {
    "comparison": Scene(comparison, {"zh": "训练前后对比", "en": "Before and after"}),
    "home": Scene(home, {"zh": "./quick_start.sh", "en": "./quick_start.sh"}),
    "exists": Scene(exists, {"zh": "./quick_start.sh 1", "en": "./quick_start.sh 1"}),
    "plan": Scene(plan, {"zh": "训练之前", "en": "Before the training"}),
    "training": Scene(training, {"zh": "训练的时候", "en": "While it trains"}),
    "card": Scene(card, {"zh": "成绩单", "en": "The report card"}),
    "history": Scene(history, {"zh": "./quick_start.sh 6 linzhi", "en": "./quick_start.sh 6 linzhi"}),
}

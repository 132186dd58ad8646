"""What there is after a run, in Ollama and below the home folder, and what a user has lost of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ollama_export.server.client import OllamaClient
from tests.support.project import ROOT

NAME = "zzhua"
STANDS = f"{NAME}:latest"
BACKUP = f"{NAME}:backup-"
HAND_MADE = ("fern", f"{NAME}:mine", f"{NAME}:staging-notes", f"{NAME}:backup-20240101-1", f"{NAME}2:backup-20240101-1")
"""Models that no run record knows; the first backup is of the one that had the name before us."""

SHOWN = 3
"""So many files are named, the others counted."""


@dataclass(frozen=True)
class State:
    """What there is: the models by their digests, what the one that stands answers, the files and the records."""

    models: Mapping[str, str]
    answer: str | None
    files: Mapping[str, str]
    """Path below the home folder -> sha256 of the content."""
    statuses: Mapping[int, str] = field(default_factory=dict)
    """Run -> the status of its record; "broken" where it can't be read."""
    trained: Mapping[int, str] = field(default_factory=dict)
    """Run -> when its training was finished, by its journal; only runs that are trained."""

    @property
    def stands(self) -> str | None:
        """The digest of the model that has the name."""
        return self.models.get(STANDS)

    @property
    def backups(self) -> dict[str, str]:
        """The tags beside the name that keep an older model."""
        return {name: digest for name, digest in self.models.items() if name.startswith(BACKUP)}

    @property
    def is_over(self) -> bool:
        """Has every run come to its end?"""
        return set(self.statuses.values()) <= {"done", "declined"}


def state_of(client: OllamaClient, home: Path) -> State:
    """Look at all of it."""
    models = {model["name"]: model["digest"] for model in client.tags()}
    answer = None
    if STANDS in models:
        question = [{"role": "user", "content": "在干嘛？"}]
        answer = client.chat(NAME, question, temperature=0, num_predict=8).text
    paths = sorted(path for path in home.rglob("*") if path.is_file())
    files = {path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    statuses, trained = {}, {}
    for folder in sorted(path for path in home.glob(f"{NAME}/*") if path.is_dir()):
        number = int(folder.name)
        try:
            record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            statuses[number] = "broken"
            continue
        statuses[number] = record["status"]
        if "train" in record["stages"]:
            trained[number] = record["stages"]["train"]["finished"]
    return State(models, answer, files, statuses, trained)


def lost(before: State, now: State, new: State) -> Iterator[str]:
    """What may never be, at whichever moment: `before` the command, and `new` is what it comes to undisturbed."""
    if now.stands not in (before.stands, new.stands):
        yield "the name is gone" if now.stands is None else "under the name stands neither the old model nor the new"
    elif now.answer != (before.answer if now.stands == before.stands else new.answer):
        yield f"the model answers something else: {now.answer!r}"
    for name, digest in before.models.items():
        # our own older backup makes room when the new model stands
        may_go = name in before.backups and name not in HAND_MADE and now.stands == new.stands
        if name != STANDS and now.models.get(name) != digest and not may_go:
            yield f"{name} is {'another model' if name in now.models else 'gone'}"
    if before.stands not in (None, now.stands, *now.backups.values()):
        yield "the old model is nowhere"
    for path, digest in before.files.items():
        if ("/adapter/" in path or path.endswith("/corrections.jsonl")) and now.files.get(path) != digest:
            yield f"{path} is {'another file' if path in now.files else 'gone'}"


def unfinished(before: State, now: State, new: State) -> Iterator[str]:
    """What differs from an undisturbed run when the command has come to its end."""
    yield from lost(before, now, new)
    if now.stands != new.stands:
        yield "the new model doesn't stand"
    for name in set(now.models) - set(before.models) - {STANDS, *now.backups}:
        yield f"{re.sub('[0-9a-f]{8,}', '*', name)} is left behind in Ollama"
    if len(set(now.backups.values())) < len(now.backups):
        yield "one model has two backups"
    elif sorted(now.backups.values()) != sorted(new.backups.values()):
        yield "the backups are other ones than an undisturbed run leaves"
    if now.statuses != new.statuses:
        yield f"the runs are {dict(now.statuses)} in place of {dict(new.statuses)}"


def other_files(now: State, new: State, but: Sequence[str] = ()) -> Iterator[str]:
    """Files that an undisturbed run hasn't left, but for those with one of `but` in their path, and missing ones."""
    more = [path for path in sorted(set(now.files) - set(new.files)) if not any(part in path for part in but)]
    fewer = sorted(set(new.files) - set(now.files))
    for paths, what in ((more, "left behind"), (fewer, "missing")):
        if paths:
            yield f"{what}: {', '.join(paths[:SHOWN])}" + (f" and {len(paths) - SHOWN} more" if paths[SHOWN:] else "")


def unnamed_files(now: State, page: Path = ROOT / "docs" / "files.md") -> Iterator[str]:
    """Files that the page on files doesn't name."""
    tables = page.read_text(encoding="utf-8").partition("## run.json")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", tables, re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall("`([^`]+)`", row)}
    for path in now.files:
        _, *inside = PurePosixPath(path).parts
        first = inside[1] if len(inside) > 1 and inside[0].isdecimal() else inside[0]
        if not any(PurePosixPath(first).match(name) for name in named):
            yield f"{path} is not named in docs/{page.name}"


def repeated(at_strike: State, now: State, new: State, steps: int) -> Iterator[str]:
    """Trainings that were finished when the strike came, and were done again; `steps` were trained since."""
    for number, finished in at_strike.trained.items():
        if now.trained.get(number) != finished:
            yield f"run {number} was trained again, its journal says"
    if at_strike.trained.keys() >= new.trained.keys() and steps:
        yield f"{steps} steps were trained although all trainings were finished"

"""What can be said of runs and machine where nothing is installed. Standard library only."""

from __future__ import annotations

import sys

from wizard.screen import output
from wizard.screen.layout import paragraphs, terminal_width
from wizard.words import t

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.machine import Glance
    from pipeline.run.history import Run


def history(name: str) -> int:
    """All runs, or those of one model, and which models Ollama has that no record knows; always 0."""
    from pipeline.machine import Glance, model_names
    from pipeline.run.history import History
    from pipeline.run.overview import overview

    glance, records = Glance(), History()
    names = [name] if name else records.names()
    models = glance.models()
    standing = {one.name: one.number for one in overview(records, models).characters if one.in_ollama}
    shown = 0
    for each in names:
        if runs := records.readable(each):
            lines = _table(runs, standing.get(str(runs[-1].record["name"])))
            output.write("\n".join([*([""] if shown else []), *lines]) + "\n")
            shown += 1
    if not shown:
        _say(t("history.empty"))
    broken = records.broken(name or None)
    if broken:
        _say(t("entries.bare.broken", count=len(broken), folder=broken[0].folder))
    others = [] if name else model_names(records.names(), models or ())[len(names) :]
    if models is None and shown:
        _say(t("note.history.no_ollama"))
    if others:
        _say(t("entries.bare.others", names=", ".join(others)))
    if shown:
        _say(t("entries.bare.more"))
    return 0


def _table(runs: Sequence[Run], stands: int | None) -> list[str]:
    from pipeline.outcome.past import past_of
    from wizard.history.table import PLAIN_SIGNS, Signs, table

    signs = Signs() if output.shows("★≠◆─📋🆚") else PLAIN_SIGNS
    return table(str(runs[-1].record["name"]), past_of(runs, stands), terminal_width(), signs).lines


def status() -> int:
    """What this machine has; always 0."""
    import platform
    import shutil

    from lora_trainer.errors import ResourceError
    from pipeline.machine import GIGABYTE, Glance, card, memory, model_names
    from pipeline.run.history import History, default_home

    glance, records = Glance(), History()
    named, size = card(), memory()
    machine = [t("home.card", card=named) if named else t("home.no_card")]
    if size is not None:
        machine.append(t("home.memory", memory=max(1, round(size / 2**30))))
    home = default_home()
    existing = next(path for path in (home, *home.parents) if path.exists())
    models = glance.models()
    try:
        recorded, broken = records.names(), len(records.broken())
    except ResourceError as error:
        recorded, broken = [], 0
        _say(t(error.key, **error.values))
    names = ", ".join(recorded)
    lines = [
        ("!", "packages", t("entries.bare.not_installed")),
        ("✓", "python", t("machine.value", value=f"{platform.python_version()}  {sys.executable}")),
        ("✓", "device", t("machine.value", value=", ".join(machine))),
        ("✓" if models is not None else "!", "ollama", _ollama(glance, models)),
        ("✓", "space", t("machine.space", free=f"{shutil.disk_usage(existing).free / GIGABYTE:.1f}", path=home)),
        ("✓", "models", t("machine.models", count=len(recorded), names=names) if names else t("machine.no_models")),
    ]
    if broken:
        lines.append(("!", "models", t("machine.broken_runs", count=broken)))
    others = model_names(recorded, models or ())[len(recorded) :]
    if others:
        lines.append(("·", "models", t("entries.bare.others", names=", ".join(others))))
    plain = {"✓": "+", "·": "*"}
    for mark, key, text in lines:
        mark = mark if output.shows("✓·") else plain.get(mark, mark)
        _say(f"{mark} {t(f'check.machine.{key}')}  {text}")
    return 0


def _ollama(glance: Glance, models: dict[str, str] | None) -> str:
    if models is not None:
        return t("entries.bare.ollama", host=glance.host.url, count=len(models))
    from shutil import which

    if glance.is_late or not glance.host.is_here or which("ollama"):
        return t("machine.no_ollama", host=glance.host.url)
    return t("entries.bare.no_ollama")


def refusal(number: str, name: str) -> str:
    """Why a model can't be what an entry is for, where that is certain; empty where it isn't."""
    from pipeline.machine import Glance, model_names
    from pipeline.run.history import History

    glance, records = Glance(), History()
    if records.readable(name) or records.broken(name) or (models := glance.models()) is None:
        return ""
    # a name that Ollama has is not told a second time
    others = len(model_names([name], models)) - 1
    if others < len(model_names([], models)):
        return ""
    return t("entries.bare.nobody", name=name, number=number)


def _say(text: str) -> None:
    width = terminal_width() if sys.stdout.isatty() else 10_000
    for line in paragraphs(text, width - 1):
        output.write(line + "\n")

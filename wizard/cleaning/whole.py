"""A character deleted whole: asked twice, the second time by its name."""

from __future__ import annotations

from lora_trainer.errors import UserError
from pipeline.cleaning.removing import Whole, delete_whole, whole
from pipeline.run.history import History
from pipeline.run.published import OllamaClient
from wizard import prompts
from wizard.prompts import Back, Wrong
from wizard.screen.screen import Screen
from wizard.screen.training import size
from wizard.words import t


def delete_character(history: History, client: OllamaClient, screen: Screen) -> None:
    """Ask which one, say what goes with it, and delete it; whoever says no, or Esc, comes back to the list.

    Raises Cancelled.
    """
    names = history.names()
    if not names:
        screen.note("note.clean.no_character")
        return
    try:
        name = str(prompts.select(t("ask.delete.which"), [(each, each) for each in names], flag="--ollama_name"))
        found = whole(name, history, client)
        screen.text("\n".join(_told(found)))
        if not prompts.confirm(t("ask.delete", name=name), flag="--ollama_name"):
            return
        prompts.text(t("ask.delete.name", name=name), flag="--ollama_name", check=lambda line: _other(line, name))
        delete_whole(found, history, client)
    except Back:
        return
    except UserError as error:
        if error.exit_code in (3, 130):
            raise
        screen.problem(error)
        return
    screen.done("note.clean.deleted", name=name, freed=size(found.bytes))


def _told(found: Whole) -> list[str]:
    """What goes."""
    lines = [t("clean.whole", name=found.name, freed=size(found.bytes)), t("clean.whole.runs", count=found.runs)]
    lines += [t("clean.whole.tags", names=t("word.comma").join(found.tags))] if found.tags else []
    if found.needed_by:
        names = t("word.comma").join(found.needed_by)
        lines.append(t("clean.whole.needed", names=names, name=found.name))
    return lines


def _other(line: str, name: str) -> Wrong | None:
    return None if line == name else Wrong(t("ask.delete.other", name=name))

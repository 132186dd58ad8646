"""A dialogue is written turn by turn: an empty line ends a turn, another one the dialogue; Esc saves nothing."""

from __future__ import annotations

from lora_trainer.errors import UserError
from pipeline.desk.changes import Backups, add_dialogue
from pipeline.desk.files import Opened
from wizard import prompts
from wizard.prompts import Wrong
from wizard.screen.layout import wrap
from wizard.screen.screen import Screen
from wizard.words import t


def write_one(opened: Opened, backups: Backups, screen: Screen) -> None:
    """Ask for a dialogue and add it to the training file. Raises Back, and DataError where it can't be added."""
    found = opened.statistics
    lines = [("✍️ " if screen.has_signs else "") + t("desk.write.head", number=found.rows + 1)]
    if found.missing:
        names = [t("desk.quoted", name=t(f"desk.situation.{name}")) for name in found.missing]
        lines += wrap(f"  {t('desk.write.hint', names=' '.join(names))}", screen.width)
    screen.lines(lines)
    messages: list[dict[str, str]] = []
    while True:
        role = "assistant" if len(messages) % 2 else "user"
        text = _turn(role, may_end=role == "user" and bool(messages))
        if not text:
            break
        messages.append({"role": role, "content": text})
    backup = add_dialogue(opened, messages, backups)
    screen.done("note.desk.written", file=opened.files.train, count=found.rows + 1)
    tell_backup(backup, screen)


def _turn(role: str, *, may_end: bool) -> str:
    """What one of the two says, of one line or several; empty where the dialogue ends. Raises Back."""
    lines: list[str] = []

    def wrong(line: str) -> Wrong | None:
        return None if line or lines or may_end else Wrong(t(f"desk.write.empty_{role}"))

    while line := prompts.text(t(f"desk.write.{role}") if not lines else "…", flag="--import", check=wrong):
        lines.append(line)
    return "\n".join(lines)


def tell_backup(backup: object, screen: Screen) -> None:
    """Where the file is as it was, if that was kept just now."""
    if backup is not None:
        screen.note("note.import.backup", file=backup)


def told_or_raised(error: UserError, screen: Screen) -> None:
    """Say what keeps a change from being made; raise what ends the conversation."""
    if error.exit_code in (3, 130):
        raise error
    screen.problem(error)

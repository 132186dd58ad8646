"""Files that are brought in, what became of them and a dialogue of theirs, in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.imports import Dialogue, Found, Gathered
from wizard.screen.layout import cut, shortened, wrap
from wizard.words import t

_SPEAKERS, _TURNS = 5, 6
"""As many are told of a file, and shown of a dialogue."""


def taken_for(found: Found) -> str:
    """What a file is taken for, who speaks in it and when."""
    name = t(f"import.format.{found.importer.name}")
    said = [t("import.guess" if found.importer.is_guess else "import.file", file=plain(found.path.name), format=name)]
    most = found.tally.speakers.most_common(_SPEAKERS)
    said += [t("import.speaker", name=cut(plain(speaker), 24), count=count) for speaker, count in most]
    if found.tally.first and found.tally.last:
        first, last = found.tally.first.date(), found.tally.last.date()
        said.append(str(first) if first == last else t("import.dates", first=first, last=last))
    if found.encoding not in ("", "UTF-8"):
        said.append(t("import.encoding", encoding=found.encoding))
    if found.heads:
        said.append(t("import.heads", heads=cut(plain(" | ".join(found.heads)), 120)))
    if found.other_sheets:
        others = t("word.comma").join(plain(name) for name in found.other_sheets)
        said.append(t("import.sheets", sheet=plain(found.sheet), others=cut(others, 80)))
    return t("word.comma").join(said)


def how(found: Sequence[Found], pause: float, *, keeps_private: bool) -> list[str]:
    """What is done with the messages of a chat log, and with private details."""
    lines = [t("import.how", minutes=f"{pause:g}")] if any(each.importer.messages for each in found) else []
    return lines if keeps_private else [*lines, t("import.how_private")]


def counted(gathered: Gathered) -> list[str]:
    """How many dialogues there are, what was left out and what was replaced."""
    left = [f"{t(f'import.left.{kind}')} {count}" for kind, count in gathered.left.most_common()]
    private = [f"{t(f'import.private.{kind}')} {count}" for kind, count in gathered.private.most_common()]
    lines = [t("import.rows", count=len(gathered.dialogues))]
    lines += [t("import.left", what=t("word.comma").join(left))] if left else []
    return [*lines, t("import.private", what=t("word.comma").join(private))] if private else lines


def shown(dialogue: Dialogue, number: int, width: int) -> list[str]:
    """A dialogue on a few lines."""
    lines = [t("import.preview", number=number)]
    for message in dialogue.messages[:_TURNS]:
        role = message["role"]
        said = f"{t(f'import.role.{role}')}{shortened(plain(message['content']), width * 2)}"
        lines += [f"  {line}" for line in wrap(said, width - 4)[:3]]
    if len(dialogue.messages) > _TURNS:
        lines.append(f"  … {t('import.more_turns', count=len(dialogue.messages) - _TURNS)}")
    return [cut(line, width) for line in lines]


def names_of(paths: Sequence[Path]) -> str:
    """Some of the files, for a line."""
    return ", ".join(plain(path.name) for path in paths[:5]) + (" …" if len(paths) > 5 else "")


def plain(text: str) -> str:
    """What can be shown of a text from a file."""
    return "".join(character if character.isprintable() else " " for character in text)

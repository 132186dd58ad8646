"""Flags: from the words of a command line to a Request, and `--help`."""

from __future__ import annotations

from pipeline.flags import FLAGS, Flag
from wizard.screen.layout import cells, paragraphs, terminal_width, wrap
from wizard.words import t

TYPE_CHECKING = False  # typing alone would be a sixth of what `--help` may take
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.request import Request

HELP_COLUMN = 26


def parse(argv: Sequence[str]) -> Request:
    """The Request that `argv` (without the program's name) asks for; raises UsageError."""
    from argparse import SUPPRESS, ArgumentError, ArgumentParser
    from pathlib import Path

    from lora_trainer.errors import UsageError
    from pipeline.request import Request

    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    kinds: dict[str, Callable[[str], object]] = {"text": str, "path": Path, "paths": Path, "int": int, "float": float}
    for flag in FLAGS:
        if flag.kind == "switch":
            parser.add_argument(flag.option, action="store_true", default=SUPPRESS)
            continue
        read = _reader(flag, kinds[flag.kind])
        many = "+" if flag.kind == "paths" else None
        parser.add_argument(flag.option, dest=flag.name, nargs=many, type=read, default=SUPPRESS)
    try:
        given, rest = parser.parse_known_args([_with_underscores(word) for word in argv])
    except ArgumentError as error:
        name = error.argument_name or ""
        switch = any(flag.kind == "switch" and name == flag.option for flag in FLAGS)
        raise UsageError("error.flag.no_value" if switch else "error.flag.value_missing", flag=name) from None
    for flag in FLAGS:
        value = getattr(given, flag.name, None)
        if value == []:
            # argparse of Python 3.11 and 3.12 takes a value `--` for the sign that no flags follow
            value = _reader(flag, kinds[flag.kind])("--")
            setattr(given, flag.name, (value,) if flag.kind == "paths" else value)
        elif isinstance(value, list):
            setattr(given, flag.name, tuple(value))
    if rest:
        from difflib import get_close_matches

        word = rest[0].partition("=")[0]
        near = get_close_matches(word, [flag.option for flag in FLAGS], n=1)
        if near:
            raise UsageError("error.flag.misspelt", flag=word, proposal=near[0])
        raise UsageError("error.flag.unknown", flag=word)
    return Request(**vars(given))


def _with_underscores(word: str) -> str:
    """`--lora-rank=8` is `--lora_rank=8`; everything that is not a flag stays as it is."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _reader(flag: Flag, kind: Callable[[str], object]) -> Callable[[str], object]:
    def read(word: str) -> object:
        from lora_trainer.errors import UsageError

        if not word.strip():
            raise UsageError("error.flag.empty", flag=flag.option)
        if flag.choices:
            same = [choice for choice in flag.choices if choice.lower() == word.lower()]
            if not same:
                choices = ", ".join(flag.choices)
                raise UsageError("error.flag.choice", flag=flag.option, value=word, choices=choices)
            return same[0]
        try:
            return kind(word)
        except ValueError:
            raise UsageError(f"error.flag.not_{flag.kind}", flag=flag.option, value=word) from None

    return read


def help_text() -> str:
    """What `--help` shows, in the user's language and as wide as the terminal."""
    from wizard.commands import command

    width = terminal_width()
    lines = [t("help.usage", command=command()), "", *wrap(t("help.about"), width)]
    group = None
    for flag in FLAGS:
        if flag.group != group:
            group = flag.group
            lines += ["", t(f"help.group.{group}")]
        lines += _help_lines(f"  {flag.option} {flag.metavar}".rstrip(), t(f"help.{flag.name}"), width)
    lines += _help_lines("  -h, --help", t("help.help"), width)
    lines += _help_lines("  --version", t("help.version"), width)
    name = ("--ollama_name", "zzhua")
    examples = t(
        "help.examples",
        new=command(*name),
        more=command(*name, "--continue_train", "--add_epochs", "1.5"),
        anew=command(*name, "--force", "--epochs", "3.0", "--yes"),
    )
    for section in (examples, t("help.exit_codes")):
        lines += ["", *paragraphs(section, width)]
    return "\n".join(lines) + "\n"


def _help_lines(left: str, right: str, width: int) -> list[str]:
    column = min(HELP_COLUMN, width // 3)
    words = wrap(right, width - column)
    if cells(left) <= column - 2:
        return [left.ljust(column) + words[0], *(" " * column + line for line in words[1:])]
    return [*wrap(left, width), *(" " * column + line for line in words)]

"""The front page, `python -m wizard.home`: what there is, and a choice that starts what it names and comes back.

With a number and arguments it does that at once, and asks only which model where that isn't said. Nothing is loaded
that a page of plain text doesn't need, and nothing has to be installed for it.
"""

from __future__ import annotations

import os
import sys
import unicodedata

from lora_trainer.errors import ResourceError
from wizard.entries.table import ENTRIES, NUMBERS, find
from wizard.screen import output, typed
from wizard.screen.front import Marks, front_page
from wizard.screen.layout import terminal_width
from wizard.started import quick_start
from wizard.words import t

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.machine import Glance

OF_A_MODEL = tuple(entry.word for entry in ENTRIES if entry.name == "asked")
"""Choices that need a model's name."""
LEAVE = ("0", "q", "Q", "quit", "exit", typed.ESCAPE)


def main(arguments: Sequence[str], *, through: Sequence[str] = (), remark: str = "") -> int:
    """Show the page and do what is chosen until the user leaves; with a number first, do that alone: its exit code.

    `through`: what a number is given to where this Python hasn't what it takes; `remark` says so on the page.
    """
    output.never_fail_on_characters()
    try:
        if arguments:
            return _at_once(arguments[0], list(arguments[1:]), through)
        return _stay(through, remark)
    except KeyboardInterrupt:
        output.write("\n")
        return 130
    except BrokenPipeError:
        output.drop_stdout()
        return 1


def _stay(through: Sequence[str], remark: str) -> int:
    done: int | None = None
    again = True
    while True:
        if again:
            if through and (python := _made_meanwhile()):
                return _run([python, "-m", "wizard.home"])
            _show(remark)
        again = True
        chosen = _ask()
        if chosen is None:
            return 0
        if not chosen:  # nothing more can be read
            if typed.is_terminal() or done is not None:
                return done or 0
            example = quick_start("3", "zzhua")
            output.write("\n" + t("home.no_terminal", example=example) + "\n", sys.stderr)
            return 2
        number, *rest = chosen
        try:
            words = words_for(number, rest, through)
        except KeyboardInterrupt:
            output.write("\n")
            continue
        if isinstance(words, int):
            # said in a line: the page above still holds
            again, done = False, words
            continue
        done = _run(words)
        if not _back(number, done):
            return done


def _ask() -> list[str] | None:
    """A number with what was typed behind it; None for leaving, empty where the input has ended."""
    while True:
        try:
            text = unicodedata.normalize("NFKC", typed.line(t("home.ask"))).strip()
        except EOFError:
            output.write("\n")
            return []
        if text in LEAVE:
            return None
        words = _split(text)
        if not words:
            output.write(t("home.hint") + "\n")
        elif words[0] in NUMBERS:
            return words
        else:
            numbers = ", ".join(number for number in NUMBERS if number != "0")
            output.write(t("home.wrong", choice=words[0][:20], numbers=numbers) + "\n")


def _split(text: str) -> list[str]:
    if not any(sign in text for sign in "'\"\\"):
        return text.split()
    import shlex

    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark without its twin
        return text.split()


def _made_meanwhile() -> str | None:
    """The Python of an environment that stands now."""
    from wizard.entries import environment

    return environment.python() if environment.state() == "ready" else None


def _show(remark: str) -> None:
    from pipeline.machine import Glance, card, memory
    from pipeline.run.history import History
    from pipeline.run.overview import overview

    glance = Glance()
    unicode = output.shows("★▶─✓✗🎭")
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    marks = Marks(unicode=unicode, colour=output.has_colours())
    named = card()
    right = [t("home.card", card=named) if named else t("home.no_card")]
    if (size := memory()) is not None:
        right.append(t("home.memory", memory=max(1, round(size / 2**30))))
    models, found, trouble = glance.models(), None, ""
    try:
        found = overview(History(), models)
    except ResourceError as error:
        trouble = t(error.key, **error.values)
    height = os.get_terminal_size().lines if terminal else 10_000
    shown = _ollama(glance, models) + "  " + ("，" if t("home.ask").endswith("：") else ", ").join(right)
    page = front_page(found, shown, trouble, terminal_width(), height, marks, remark=remark)
    output.write("\n" + "\n".join(page) + "\n")


def _ollama(glance: Glance, models: object) -> str:
    if models is not None:
        return t("home.ollama.runs")
    if glance.is_late:
        return t("home.ollama.late")
    installed = not glance.host.is_here or _ollama_program() is not None
    return t("home.ollama.silent" if installed else "home.ollama.not_installed")


def _ollama_program() -> str | None:
    from shutil import which

    return which("ollama")


# --- what the numbers do


def words_for(number: str, rest: list[str], through: Sequence[str] = ()) -> list[str] | int:
    """The command of a choice with the words behind it, a model's name asked for; an exit code where none is to run.

    Raises KeyboardInterrupt where the user breaks the asking off.
    """
    entry = find(number)
    assert entry is not None
    name, rest = entry.split(rest)
    if entry.name == "asked" and not name:
        which = _which_model()
        if isinstance(which, int):
            return which
        name = which
    if through:
        return [*through, number, *([name] if name else []), *rest]
    return entry.command(sys.executable, name, rest)


def _which_model() -> str | int:
    """One of the models there are, chosen by its number; an exit code where there is none or the user goes back."""
    from pipeline.machine import Glance, model_names
    from pipeline.run.history import History

    registered = Glance().models()
    names = model_names(History().names(), registered or ())
    if registered is None:
        output.write(t("home.names_unknown") + "\n")
    if not names:
        output.write(t("home.no_models") + "\n")
        return 2
    lines = [f"  {number}) {name}" for number, name in enumerate(names, 1)]
    output.write("\n".join([t("home.which"), *lines]) + "\n")
    while True:
        try:
            text = unicodedata.normalize("NFKC", typed.line(t("home.ask_which"))).strip()
        except EOFError:
            output.write("\n")
            return 0
        if text in LEAVE:
            return 0
        if text.isdecimal() and 0 < int(text) <= len(names):
            return names[int(text) - 1]
        if text in names:
            return text
        output.write(t("home.wrong_which", count=len(names)) + "\n")


def _at_once(number: str, rest: list[str], through: Sequence[str]) -> int:
    """Become what a number stands for."""
    needs_name = number in OF_A_MODEL and (not rest or rest[0].startswith("-"))
    if needs_name and not typed.is_terminal():
        output.write(t("home.no_terminal", example=quick_start(number, "zzhua")) + "\n", sys.stderr)
        return 2
    words = words_for(number, rest, through)
    if isinstance(words, int):
        return words
    if os.name == "posix":
        sys.stdout.flush()
        os.execvp(words[0], words)
    return _run(words)


def _run(words: Sequence[str]) -> int:
    from wizard.interpreter import wait_for

    return wait_for(words)


def _back(number: str, code: int) -> bool:
    """Let the user read what was said before the page comes again; False where they leave."""
    if (number == "7" and code == 0) or not typed.is_terminal():
        return True
    try:
        return typed.line("\n" + t("home.back")).strip() not in ("0", "q")
    except EOFError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m wizard.entries`: what quick_start.sh and quick_start.bat start, with a Python of 3.11 to 3.13.

What needs no environment is answered at once; for everything else that is made first, where it doesn't stand.
"""

from __future__ import annotations

import os
import sys

from wizard.entries import environment, table
from wizard.screen import output
from wizard.words import LANGUAGES, VARIABLE, t, use_language

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Sequence

    from wizard.entries.table import Entry

MYSELF = ("-m", "wizard.entries")


def main(arguments: Sequence[str]) -> int:
    """Do what the words ask for: the exit code. Where that is another program, become it."""
    output.never_fail_on_characters()
    try:
        return _do(_without_language(list(arguments)))
    except environment.SetupFailed as failed:
        output.write("❌ " + t(failed.key, **failed.values) + "\n", sys.stderr)
        return 2
    except KeyboardInterrupt:
        output.write("\n", sys.stderr)
        return 130
    except BrokenPipeError:
        output.drop_stdout()
        return 1


def _without_language(words: list[str]) -> list[str]:
    """Choose the language that --lang names, here and in what is started; in front it is taken away."""
    named = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--lang"]
    named += [word.partition("=")[2] for word in words if word.startswith("--lang=")]
    if named:
        os.environ[VARIABLE] = named[-1]
        use_language(named[-1] if named[-1] in LANGUAGES else "en")
    if words[:1] == ["--lang"]:
        return words[2:]
    return words[1:] if words and words[0].startswith("--lang=") else words


def _do(words: list[str]) -> int:
    if not words:
        return _front_page()
    if words[0] == table.LEAVE:
        return 0
    if words[0] in ("-h", "--help", "help"):
        output.write(usage())
        return 0
    entry = table.find(words[0])
    if entry is None:
        output.write(usage(), sys.stderr)
        return 2
    return _enter(entry, words[1:])


def _front_page() -> int:
    state = environment.state()
    if state == "ready" and not environment.is_here():
        return become([environment.python(), "-m", "wizard.home"])
    from wizard import home

    if state == "ready":
        return home.main([])
    remark = t("home.outdated") if state == "outdated" else t("home.not_installed")
    return home.main([], through=(sys.executable, *MYSELF), remark=remark)


def _enter(entry: Entry, rest: list[str]) -> int:
    kind = "test" if entry.word == "test" else "run"
    state = environment.state(kind)
    name, others = entry.split(rest)
    if entry.name == "asked" and not name:
        from wizard import home

        if state == "ready" and not environment.is_here():
            return become([environment.python(), "-m", "wizard.home", entry.word, *rest])
        return home.main([entry.word, *rest], through=() if state == "ready" else (sys.executable, *MYSELF))
    if state == "none" and (code := _answer_bare(entry, name, others)) is not None:
        return code
    from wizard.entries.installation import set_up

    python = set_up(kind)
    if entry.word == "setup":
        return 0
    if entry.word == "test" and not rest:
        return _all_tests(python)
    return become(entry.command(python, name, others))


def _answer_bare(entry: Entry, name: str, others: Sequence[str]) -> int | None:
    """What can be said where nothing is installed; None where that isn't what was asked for."""
    from lora_trainer.errors import UserError
    from wizard.entries import bare

    try:
        if entry.name == "asked" and (refused := bare.refusal(entry.word, name)):
            output.write("❌ " + refused + "\n", sys.stderr)
            return 2
        if entry.answers_bare and not others:
            return bare.history(name) if entry.name else bare.status()
    except UserError as error:
        output.write("❌ " + t(error.key, **error.values) + "\n", sys.stderr)
        return error.exit_code
    return None


def _all_tests(python: str) -> int:
    """What holds the code to its rules, then every test."""
    from wizard.interpreter import wait_for

    for words in (("ruff", "check", "."), ("mypy",)):
        if code := wait_for([python, "-m", *words]):
            return code
    # One process for each core, and one thread for each process: threads that wait for a busy core spin, and a
    # training takes several times as long.
    os.environ["OMP_NUM_THREADS"] = "1"
    return become([python, "-m", "pytest", "-n", "auto", "--dist", "loadfile"])


def usage() -> str:
    """All entries and what each does."""
    from wizard.screen.layout import cells
    from wizard.started import quick_start

    rows = [(quick_start(), t("entries.about.front"))]
    for entry in table.ENTRIES:
        words = [entry.also or entry.word]
        words += [t("entries.usage.name")] if entry.name else []
        words += [t("entries.usage.arguments")] if entry.takes_arguments else []
        rows.append((f"{quick_start()} {' '.join(words)}", t(f"entries.about.{entry.word}")))
    wide = max(cells(typed) for typed, _ in rows)
    lines = [f"  {typed}{' ' * (wide - cells(typed))}  {about}" for typed, about in rows]
    return "\n".join([t("entries.usage"), *lines, t("entries.usage.more")]) + "\n"


def become(words: list[str]) -> int:
    """Go on as another program."""
    if os.name == "posix":
        sys.stdout.flush()
        sys.stderr.flush()
        os.execvp(words[0], words)
    from wizard.interpreter import wait_for

    return wait_for(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

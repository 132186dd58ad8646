"""What quick_start.sh, quick_start.bat and the front page have to offer: one row each.

Both scripts only find a Python and start `python -m wizard.entries` with the words behind them, so that none of them
can know an entry that the others don't.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "train_to_ollama.py"
NAME = "NAME"
"""Stands in a row's words for a model's name with its flag, or for nothing."""


class Entry:
    """One row.

    `word` is what is typed, a number on the front page; `words` are what Python is started with for it, with the user's
    further words behind them. `name` says whether a model's name may stand behind the word: "asked" where the entry
    needs one, which is asked for where it isn't given, "may" where it doesn't. `answers_bare`: without an environment
    it is answered all the same, as far as that goes. Its texts: `home.choice.<word>` of a number, and
    `entries.about.<word>`.
    """

    def __init__(
        self,
        word: str,
        *words: str,
        name: str = "",
        also: str = "",
        takes_arguments: bool = True,
        answers_bare: bool = False,
    ) -> None:
        self.word, self.words, self.name, self.also = word, words, name, also
        self.takes_arguments, self.answers_bare = takes_arguments, answers_bare

    def command(self, python: str, name: str, rest: Sequence[str]) -> list[str]:
        """What is started for it."""
        named = ["--ollama_name", name] if name else []
        words = [part for word in self.words for part in (named if word == NAME else [word])]
        return [python, *words, *rest]

    def split(self, rest: Sequence[str]) -> tuple[str, list[str]]:
        """A model's name (empty where none is given) and the other words of what was typed behind the entry's."""
        if self.name and rest and rest[0] and not rest[0].startswith("-"):
            return rest[0], list(rest[1:])
        return "", list(rest)


ENTRIES = (
    Entry("1", PROGRAM),
    Entry("2", PROGRAM, "--data_desk", NAME, name="may"),
    Entry("3", PROGRAM, NAME, "--continue_train", name="asked"),
    Entry("4", PROGRAM, NAME, "--compare_only", name="asked"),
    Entry("5", "-m", "wizard.demo", also="demo"),
    Entry("6", PROGRAM, "--history", NAME, name="may", answers_bare=True),
    Entry("7", PROGRAM, NAME, "--chat", name="asked"),
    Entry("8", PROGRAM, "--clean"),
    Entry("9", "-m", "wizard.status", answers_bare=True),
    Entry("setup", takes_arguments=False),
    Entry("test", "-m", "pytest"),
)
LEAVE = "0"
NUMBERS = (*(entry.word for entry in ENTRIES if entry.word.isdecimal()), LEAVE)
"""What can be chosen on the front page."""


def find(word: str) -> Entry | None:
    """The row of what was typed."""
    return next((entry for entry in ENTRIES if word and word in (entry.word, entry.also)), None)

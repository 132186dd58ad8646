"""Talk: what the questions of one conversation share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wizard import prompts

if TYPE_CHECKING:
    from pipeline.job import Dataset
    from pipeline.run.history import History
    from wizard.screen.screen import Screen
    from wizard.steps.price import Prices

Rows = Sequence[prompts.Row | tuple[Any, str]]
Check = Callable[[str], prompts.Wrong | None]


@dataclass
class Talk:
    """What is asked on, what is known and what was answered before."""

    screen: Screen
    history: History
    prices: Prices
    locks: ExitStack = field(default_factory=ExitStack)
    """Holds the lock of the name that is spoken of."""
    memory: dict[str, Any] = field(default_factory=dict)
    """The last answer to each question: whoever comes back to it finds it there."""
    read: dict[Any, Dataset] = field(default_factory=dict)
    """Dialogues that were read, by what they were read from."""

    def select(self, question: str, message: str, rows: Rows, *, flag: str, first: Any = None, **how: Any) -> Any:
        """Ask for one of `rows`; the cursor stands on the last answer to this question, else on `first`."""
        answer = prompts.select(message, rows, flag=flag, default=self.memory.get(question, first), **how)
        self.memory[question] = answer
        return answer

    def text(self, question: str, message: str, *, flag: str, check: Check, first: str = "") -> str:
        """Ask for a line; the last answer to this question stands in the field, else `first`."""
        answer = prompts.text(message, flag=flag, default=self.memory.get(question, first), check=check)
        self.memory[question] = answer
        return answer

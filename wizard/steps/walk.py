"""From question to question, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lora_trainer.errors import Cancelled
from wizard import prompts
from wizard.prompts import Back

if TYPE_CHECKING:
    from wizard.steps.draft import Draft

    Step = Callable[[Draft], Draft]


def walk(steps: Sequence[Step], draft: Draft, *, leads_back: bool = False) -> Draft:
    """Take one step after the other until the draft is complete or none is left.

    Back, raised by a step, returns to the last one before it that asked anything, as it was then. Raises Cancelled
    where there is none (Back, where there is a question before the first one, to which the way `leads_back`), and
    whatever a step raises.
    """
    left: list[tuple[int, Draft]] = []
    at = 0
    while at < len(steps) and not draft.is_complete:
        before = prompts.asked()
        try:
            after = steps[at](draft)
        except Back:
            if not left and leads_back:
                raise
            if not left:
                raise Cancelled("error.cancelled") from None
            at, draft = left.pop()
            continue
        if prompts.asked() > before:
            left.append((at, draft))
        draft, at = after, at + 1
    return draft

"""The questions of one run, in their order."""

from __future__ import annotations

from functools import partial

from wizard.steps import data, ollama
from wizard.steps.draft import Draft
from wizard.steps.talk import Talk
from wizard.steps.walk import walk


def decide(draft: Draft, talk: Talk, *, leads_back: bool = False) -> Draft:
    """Ask what isn't decided yet; `leads_back`: there is a question before the first one.

    Raises Cancelled, DecisionNeeded, Back where the way `leads_back`, and what the steps do.
    """
    if draft.is_asked and not leads_back:
        talk.screen.banner()
    steps = (ollama.look, data.choose_first, _decide_the_rest)
    try:
        return walk([partial(step, talk=talk) for step in steps], draft, leads_back=leads_back)
    finally:
        talk.prices.end()


def _decide_the_rest(draft: Draft, talk: Talk) -> Draft:
    """All but what is asked first, loaded only now: the first question is to come at once. Raises Back."""
    from wizard.steps import base_model, existing, name, numbers, plan

    if draft.is_asked:
        talk.prices.begin()  # looks at machine and network, beside the questions
    steps = (
        name.choose_name,
        name.tell_broken,
        ollama.connect,
        existing.go_on,
        existing.choose,
        data.settle,
        base_model.settle,
        numbers.choose_strategy,
        numbers.settle,
        plan.settle,
    )
    return walk([partial(step, talk=talk) for step in steps], draft, leads_back=True)

"""The questions of one run, in their order."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from wizard.prompts import Back
from wizard.steps import data, ollama
from wizard.steps.draft import Draft
from wizard.steps.faults import ask_about_refused
from wizard.steps.talk import Talk
from wizard.steps.walk import walk

if TYPE_CHECKING:
    from lora_trainer.errors import DataError
    from pipeline.job import Job


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


def decide_again(draft: Draft, talk: Talk, job: Job, error: DataError) -> Draft:
    """What becomes of dialogues that the checks of a job have refused: mended, left out, or another plan.

    Raises Cancelled, and what the steps do.
    """
    from pipeline.checks.length import length_in
    from wizard.steps import numbers, plan

    findings = error.values["findings"]
    # what it is was told by the check that failed
    talk.screen.settle()
    talk.screen.findings(findings)
    too_long = any(finding.key == "data.fault.too_long" for finding in findings)
    try:
        draft = ask_about_refused(draft, talk, length_in(job, talk.screen.listen) if too_long else None)
        talk.read.clear()
        return replace(numbers.settle(data.settle(draft, talk), talk), is_complete=True)
    except Back:
        talk.read.clear()
    talk.prices.begin()
    try:
        return walk([partial(plan.settle, talk=talk)], replace(draft, is_complete=False))
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

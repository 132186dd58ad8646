"""What came out of a training, shown before anybody decides about it: the answers before and after, and the card."""

from __future__ import annotations

from pipeline.job import Job
from pipeline.outcome.judged import judge
from pipeline.run.history import History, Run
from wizard import prompts
from wizard.screen.screen import Screen
from wizard.steps.comparison import Stop, compare_and_show, wants_comparison


def after_training(job: Job, run: Run, screen: Screen, stop: Stop, *, tell_next: bool = False) -> None:
    """Show what came out of a run that is trained, exported and proven; `tell_next`: no menu asks for the next step.

    Raises Interrupted, and Cancelled where Ctrl-C comes while the answers are looked through.
    """
    if wants_comparison(job.request, prompts.can_ask()):
        compare_and_show(job, run, screen, stop)
    show_card(run, job.history, job.previous, screen, tell_next=tell_next)


def show_card(run: Run, history: History, standing: Run | None, screen: Screen, *, tell_next: bool) -> None:
    """Judge a run by all that its record has, and show that where it can be judged; `standing` as for `judge`."""
    card = judge(run, history, standing)
    if card is not None:
        screen.card(card, str(run.record["name"]), run.number, tell_next=tell_next)

"""The comparison on the screen: leafed through at a terminal, where both models may be asked more; else as a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import Cancelled, Interrupted, UsageError, UserError
from pipeline.outcome.asked import Comparison, Question
from pipeline.outcome.comparison.compare import (
    Comparing,
    Stop,
    compare_and_keep,
    compared_with,
    comparing_of,
    keep,
)
from pipeline.outcome.comparison.markdown import NAME
from pipeline.outcome.comparison.questions import MOST_CHARACTERS
from pipeline.request import Request
from pipeline.run.history import History, Run
from wizard import browse, prompts
from wizard.prompts import Back, Wrong
from wizard.screen.comparison import comparison_list, comparison_screen, marks_of
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.job import Job
    from wizard.screen.screen import Screen


def wants_comparison(request: Request, at_terminal: bool) -> bool:
    """Whether a run is compared before it is published: as a flag says, else where somebody is there to see it."""
    if request.compare or request.no_compare:
        return request.compare
    return at_terminal and not request.yes and not request.register_only


def compare_and_show(job: Job, run: Run, screen: Screen, stop: Stop) -> Comparison | None:
    """Compare a run that is proven and show that; None where nobody can be asked. Raises Interrupted and Cancelled."""
    with comparing_of(job, run, screen.listen, stop) as both:
        return show(both, both.recorded or compare_and_keep(both), screen)


def show_of(name: str, history: History, screen: Screen, request: Request) -> tuple[Run, Comparison | None]:
    """What `--compare_only` does: show the comparison of the run that stands or of `--run`, made now where it has none.

    Raises UsageError where there is no such run, Interrupted and Cancelled.
    """
    from pipeline.run.published import connect
    from pipeline.run.standing import run_to_register

    client = connect()
    try:
        run = run_to_register(history, request, name, client)
    except UsageError as error:
        if error.key != "error.nothing_to_register":
            raise
        raise UsageError("error.nothing_to_compare", name=name) from None
    previous = history.numbered(name, run.record["parent"])
    before = compared_with(run, previous, history, client)
    how: dict[str, Any] = {"history": history, "client": client, "llama_cpp": request.llama_cpp}
    with Comparing(run, before, listener=screen.listen, **how) as both:
        return run, show(both, both.recorded or compare_and_keep(both), screen)


def show(both: Comparing, comparison: Comparison | None, screen: Screen) -> Comparison | None:
    """Let the user leaf through a comparison and ask both models more, which is kept; elsewhere list all of it.

    Raises Cancelled and Interrupted.
    """
    screen.settle()
    if comparison is None:
        return None
    if prompts.can_ask():
        comparison = _leafed_through(both, comparison, screen)
    else:
        list_all(both.run, comparison, screen)
    screen.note("note.compare.kept", path=both.run.folder / NAME)
    return comparison


def _leafed_through(both: Comparing, comparison: Comparison, screen: Screen) -> Comparison:
    at = 0
    while True:
        try:
            key, at = browse.leaf(_drawing(both.run, comparison, screen), len(comparison.asked), "ai", at)
        except Back:
            return comparison
        if key == "a":
            list_all(both.run, comparison, screen)
        elif key == "i":
            comparison = _ask_more(both, comparison, screen)
            at = len(comparison.asked) - 1
        else:
            return comparison


def _ask_more(both: Comparing, comparison: Comparison, screen: Screen) -> Comparison:
    """The comparison with one more question, where the user types one that can be asked."""
    try:
        text = prompts.text(t("compare.ask"), flag="--no_compare", check=_check)
        asked = both.ask([Question(text, "typed")])
    except Back:
        return comparison
    except KeyboardInterrupt:
        raise both.interrupted from None
    except UserError as error:
        if isinstance(error, Cancelled | Interrupted):
            raise
        screen.problem(error)
        return comparison
    finally:
        screen.settle()
    more = replace(comparison, asked=(*comparison.asked, *asked))
    keep(both.run, both.to_record(more))
    return more


def list_all(run: Run, comparison: Comparison, screen: Screen) -> None:
    """All questions with both answers, below each other."""
    screen.lines(comparison_list(run.record["name"], comparison, screen.console.width, marks_of(screen)))


def _drawing(run: Run, comparison: Comparison, screen: Screen) -> Callable[[int, int, int], list[str]]:
    name, keys, marks = run.record["name"], t("compare.keys"), marks_of(screen)
    return lambda at, width, height: comparison_screen(name, comparison, at, width, height, keys, marks)


def _check(text: str) -> Wrong | None:
    if not text:
        return Wrong(t("ask.empty"))
    return Wrong(t("compare.too_long", most=MOST_CHARACTERS)) if len(text) > MOST_CHARACTERS else None

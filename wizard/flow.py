"""The questions of one run in their order: what flags say is not asked, what is missing is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from lora_trainer.errors import BaseModelError, Cancelled, UsageError
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.run.kept import DEFAULT_DATA, own_data
from pipeline.strategies import needs_confirmation, plan_for, strategy, suggestions, warnings
from wizard import prompts, questions
from wizard.prompts import Back
from wizard.questions import BaseOffer, Existing
from wizard.screen.screen import Screen
from wizard.screen.tables import Review

DEFAULT_BASE_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
BASE_OFFERS = (
    BaseOffer(DEFAULT_BASE_MODEL, "qwen25_05b"),
    BaseOffer("Qwen/Qwen2.5-1.5B-Instruct", "qwen25_15b"),
    BaseOffer("Qwen/Qwen3-0.6B", "qwen3_06b"),
    BaseOffer("Qwen/Qwen2.5-3B-Instruct", "qwen25_3b"),
)


class Decision(NamedTuple):
    """The numbers of the run, and the strategy that they follow (None for a new or an overwritten model)."""

    plan: TrainPlan
    strategy: str | None
    request: Request
    """What was asked for, without its ladder where numbers were answered in its place."""


def decide_name(request: Request, screen: Screen, existing: Sequence[str], check: Callable[[str], str]) -> str:
    """The model's canonical name. `check` returns it or raises UserError; `existing` are the names with a record."""
    if request.ollama_name is not None:
        return check(request.ollama_name)
    if prompts.can_ask():
        screen.banner()
    if existing and (request.wants_continuation or request.rollback or request.verify or request.register_only):
        return questions.ask_which_model(existing)
    default = ""
    while True:
        name = questions.ask_name(default, existing)
        try:
            return check(name)
        except UsageError as error:
            screen.note(error.key, **error.values)
            default = str(error.values.get("proposal", name))


def decide_existing(request: Request, name: str, facts: Existing | None) -> str:
    """new, continue, overwrite or skip; `facts` is None where there is no such model. Raises Cancelled for cancel."""
    if facts is None:
        if request.wants_continuation:
            raise UsageError(
                "error.nothing_to_continue_unasked" if request.no_register else "error.nothing_to_continue", name=name
            )
        return "new"
    choice = request.exists_choice or questions.ask_on_exists(name, facts)
    if choice == "cancel":
        raise Cancelled("error.cancelled")
    if request.warm_start and facts.epochs is None:
        raise UsageError("error.warm_start.no_record", name=name)
    return choice


def decide_data(request: Request, screen: Screen, name: str) -> Request:
    """Where a new model's dialogues are: as flags say, else the folder of its own below `data`, or `data` itself.

    Where nobody can answer it is `data`, and the other one is told.
    """
    if request.names_data:
        return request
    own = own_data(name)
    if not (own / "train.jsonl").is_file():
        if prompts.can_ask():
            screen.note("note.data.own_place", folder=own)
        return request
    if request.yes or not prompts.can_ask():
        screen.note("note.data.own_is_there", folder=own, taken=DEFAULT_DATA)
        return request
    return replace(request, data_dir=questions.ask_data([own, DEFAULT_DATA]))


def decide_base(request: Request, screen: Screen, recorded: str | None, ollama_model: str | None = None) -> str:
    """The base model: flag, else `recorded`, else asked, else the default, which is then said.

    `ollama_model` is the name of a model that was made elsewhere and is to be continued: it is offered first.
    """
    if request.base_model is not None:
        return request.base_model
    if recorded is not None:
        return recorded
    offers = [*([BaseOffer(f"ollama:{ollama_model}", "itself")] if ollama_model else []), *BASE_OFFERS]
    if not request.yes and prompts.can_ask():
        return questions.ask_base_model(offers)
    screen.note("note.default_base_model", base_model=offers[0].source)
    return offers[0].source


def decide_new_base(request: Request, screen: Screen, name: str, why: BaseModelError) -> str:
    """The base model where that of the model `name`, which stands in Ollama, is gone (`why`): asked, else what stands.

    Raises Cancelled.
    """
    stands = f"ollama:{name}"
    asked = prompts.can_ask() and not request.yes
    screen.note("note.base.gone", source=why.values["source"], was=why.values["was"])
    if not asked:
        screen.note("note.base.stands_in", base_model=stands)
        return stands
    return questions.ask_base_model([BaseOffer(stands, "itself")])


def decide_plan(
    request: Request,
    screen: Screen,
    choice: str,
    record: TrainPlan | None,
    dialogues: int,
    review: Callable[[Decision], Review],
    *,
    on_itself: bool = False,
) -> Decision:
    """Strategy and numbers, shown for review until they please.

    `choice` is new, continue or overwrite; `record` the plan of the model that is continued, where it is known;
    `review` completes a decision to what the review screen shows; `on_itself`: what stands is the base model, so
    that earlier epochs are in it. Raises DecisionNeeded and Cancelled.
    """
    asked, changing = request, False
    if choice == "continue" and record is None:
        screen.note("note.earlier_epochs_unknown")
    while True:
        try:
            if choice == "continue":
                name = request.strategy_choice or questions.ask_strategy(dialogues)
                numbers, source = _strategy_numbers(request, name, record, dialogues, sums=not on_itself)
            else:
                name, source = None, "answer"
                numbers = questions.ask_strategy_numbers("custom", None, dialogues) if changing else {}
            plan = plan_for(request, record, numbers, dialogues, source, new_base=on_itself)
            decision = Decision(plan, name, replace(asked, ladder=request.ladder))
            _review(request, screen, decision, record, dialogues, review)
        except Back:
            # Whoever wants to change something means the numbers of the flags too.
            request = replace(
                request, strategy=None, add_epochs=None, epochs=None, ladder=None, learning_rate=None, lora_rank=None
            )
            changing = True
        else:
            return decision


def _strategy_numbers(
    request: Request, name: str, record: TrainPlan | None, dialogues: int, *, sums: bool
) -> tuple[dict[str, float], str]:
    """The strategy's numbers and their source; a flag for any of them means that the others stay as recorded."""
    if request.add_epochs is not None or request.plan_numbers().keys() & strategy(name).asks:
        return {}, "answer"
    if request.yes:
        return suggestions(name, record, dialogues), "strategy"
    return questions.ask_strategy_numbers(name, record, dialogues, sums=sums), "answer"


def _review(
    request: Request,
    screen: Screen,
    decision: Decision,
    record: TrainPlan | None,
    dialogues: int,
    review: Callable[[Decision], Review],
) -> None:
    screen.review(review(decision))
    for note in warnings(decision.plan, record, dialogues):
        screen.listen(note)
    if request.yes or request.dry_run:
        return
    if needs_confirmation(decision.plan) and not questions.ask_many_epochs(decision.plan.epochs):
        raise Back
    if prompts.can_ask():
        questions.ask_confirm_review()

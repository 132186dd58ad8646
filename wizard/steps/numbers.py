"""How is it trained on: the strategy by what is wrong with the model, and the numbers that the strategy asks for."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_trainer.errors import UserError
from lora_trainer.plan import TrainPlan
from pipeline.strategies import (
    ADD_EPOCHS,
    RANKS,
    RATES,
    STRATEGIES,
    advised_epochs,
    strategy,
    suggestions,
)
from wizard.prompts import Back, Row, Wrong, in_columns
from wizard.screen.plan import number_text
from wizard.steps.draft import Draft
from wizard.steps.fields import ask_field
from wizard.steps.planned import on_itself, plan_of
from wizard.steps.price import time_text
from wizard.steps.talk import Talk
from wizard.words import rate_text, t

NUMBERS = ("add_epochs", "epochs", "ladder", "learning_rate", "lora_rank")
"""What the strategies are about."""
EXAMPLES = {"add_epochs": "1.5", "epochs": "3.5", "learning_rate": "2e-4", "lora_rank": "8"}
"""What a number that is typed looks like."""


def settle(draft: Draft, talk: Talk) -> Draft:
    """The numbers that follow from what is said already, without a question but for those that are missing.

    Raises DecisionNeeded, Back and, for numbers out of range, UsageError. A new model's epochs are what suits its data
    where somebody is asked; scripts have the default.
    """
    if draft.choice != "continue":
        return _settle_new(draft)
    chosen = draft.strategy
    assert chosen is not None
    if not _has_numbers(draft, chosen):
        if draft.request.yes:
            return replace(draft, plan=plan_of(draft, suggestions(chosen, draft.record, _count(draft))))
        draft = ASKS[chosen](draft, talk)
    return replace(draft, strategy=draft.request.strategy_choice, plan=plan_of(draft))


def choose_strategy(draft: Draft, talk: Talk, *, again: bool = False) -> Draft:
    """The strategy of a model that is continued, by what is wrong with it. Raises DecisionNeeded and Back."""
    if draft.choice != "continue":
        return draft
    if draft.record is None and not again:
        talk.screen.note("note.earlier_epochs_unknown")
    if again:
        draft = _forget(draft)
    chosen = draft.request.strategy_choice
    if chosen is not None:
        return replace(draft, strategy=chosen)
    chosen = _ask_strategy(draft, talk)
    if chosen == "temperature":
        return _only_temperature(draft)
    return replace(draft.answer(strategy=chosen), strategy=chosen)


def choose_again(draft: Draft, talk: Talk) -> Draft:
    """Another strategy, with its numbers. Raises Back."""
    while True:
        chosen = choose_strategy(draft, talk, again=True)
        try:
            return chosen if chosen.is_complete else settle(chosen, talk)
        except Back:
            continue


def _settle_new(draft: Draft) -> Draft:
    known = draft.request.epochs is not None or draft.request.ladder is not None
    if draft.is_asked and not draft.request.dry_run and (not known or "epochs" in draft.advised):
        draft = draft.advise(epochs=suggestions("augment", None, _count(draft))["epochs"])
    return replace(draft, strategy=None, plan=plan_of(draft))


def _forget(draft: Draft) -> Draft:
    """Whoever wants to choose the strategy anew means the numbers of flags and earlier answers too."""
    gone: dict[str, Any] = dict.fromkeys(NUMBERS)
    return replace(draft.answer(strategy=None, **gone), answered=draft.answered - {"strategy", *NUMBERS})


def _has_numbers(draft: Draft, name: str) -> bool:
    """A flag for any of a strategy's numbers means that the others stay as recorded."""
    request = draft.request
    return request.add_epochs is not None or bool(request.plan_numbers().keys() & set(strategy(name).asks))


def _count(draft: Draft) -> int:
    return len(draft.data.train) if draft.data else 0


def _first_strategy(draft: Draft) -> str:
    return "augment" if _count(draft) < 20 else "incremental"


def _ask_strategy(draft: Draft, talk: Talk) -> str:
    known, count = draft.record or TrainPlan(), _count(draft)
    epochs = suggestions("augment", None, count)["epochs"]
    total = known.epochs + 1.5
    changes = {
        "incremental": t("menu.change.epochs", before=known.epochs, now=total) if draft.record else "+1.5",
        "retune": _first_change(known),
        "augment": t("menu.change.epochs", before=known.epochs, now=epochs),
        "custom": "",
    }
    columns = [
        (f"{row.emoji} {t(f'strategy.{row.name}.title')}", t(f"strategy.{row.name}.about"), changes[row.name])
        for row in STRATEGIES
    ]
    names = [row.name for row in STRATEGIES]
    if draft.stands.run is not None and draft.client is not None:
        names.append("temperature")
        columns.append((f"🌡️  {t('menu.strategy.temperature')}", t("menu.strategy.temperature.about"), ""))
    rows = in_columns(names, columns)
    return str(talk.select("strategy", t("ask.strategy"), rows, flag="--strategy", first=_first_strategy(draft)))


def _first_change(known: TrainPlan) -> str:
    rank = next((advice.value for advice in RANKS if advice.value > known.lora_rank), None)
    if rank is not None:
        return t("menu.change.rank", before=known.lora_rank, now=int(rank))
    return t("menu.change.rate", before=rate_text(known.learning_rate), now=rate_text(1e-4))


def _only_temperature(draft: Draft) -> Draft:
    """How it speaks changes without training: published once more."""
    which = {"run": draft.request.from_run, "from_run": None}
    draft = _forget(draft).answer(temperature=ask_field("temperature", draft), register_only=True, **which)
    return replace(draft, is_complete=True)


# --- what each strategy asks


def _ask_incremental(draft: Draft, talk: Talk) -> Draft:
    record = None if on_itself(draft) or draft.request.warm_start else draft.record
    columns = []
    for advice in ADD_EPOCHS:
        plan = plan_of(draft.answer(add_epochs=advice.value))
        total = t("menu.change.total", now=plan.epochs) if record else ""
        columns.append((f"+{advice.value}", total, _price(draft, talk, plan), t(f"advice.{advice.key}")))
    values: list[Any] = [advice.value for advice in ADD_EPOCHS]
    rungs = [record.epochs + more for more in (0.5, 1.0, 2.0)] if record and draft.data and draft.data.val else []
    if rungs:
        cost = talk.prices.of(draft, plan_of(draft.answer(add_epochs=2.0)), rungs)
        time = time_text(cost.duration) if cost else ""
        columns.append((t("menu.ladder"), " / ".join(map(str, rungs)), time, t("menu.ladder.about")))
        values.append("ladder")
    rows = in_columns(values, columns)
    chosen = _select_or_type("add_epochs", t("ask.add_epochs"), rows, talk, 1.5)
    if chosen == "ladder":
        return draft.answer(strategy="custom", ladder=",".join(map(str, rungs)))
    return draft.answer(add_epochs=chosen)


def _ask_retune(draft: Draft, talk: Talk) -> Draft:
    known = draft.record or TrainPlan()
    sets: dict[str, Mapping[str, float]] = {}
    rank = next((int(advice.value) for advice in RANKS if advice.value > known.lora_rank), None)
    if rank is not None:
        sets["rank"] = {"lora_rank": rank}
    if known.learning_rate > 1e-4:
        sets["rate"] = {"learning_rate": 1e-4}
    sets |= strategy("retune").presets
    columns = [(_set_text(name, numbers, known), _set_price(draft, talk, numbers)) for name, numbers in sets.items()]
    rows = in_columns(sets, columns)
    rows.append(Row("own", t("preset.own")))
    while True:
        chosen = talk.select("preset", t("ask.preset"), rows, flag="--learning_rate")
        if chosen != "own":
            return draft.answer(**sets[chosen])
        try:
            # another draft each time: whoever comes back was asked for the set of numbers first
            return _ask_each(replace(draft), talk, ("learning_rate", "lora_rank", "epochs"))
        except Back:
            continue


def _set_text(name: str, numbers: Mapping[str, float], known: TrainPlan) -> str:
    if name == "rank":
        return t("menu.change.rank", before=known.lora_rank, now=numbers["lora_rank"])
    if name == "rate":
        return t("menu.change.rate", before=rate_text(known.learning_rate), now=rate_text(numbers["learning_rate"]))
    rate, rank, epochs = rate_text(numbers["learning_rate"]), numbers["lora_rank"], numbers["epochs"]
    return t(f"preset.{name}", rate=rate, rank=rank, epochs=epochs)


def _set_price(draft: Draft, talk: Talk, numbers: Mapping[str, float]) -> str:
    return _price(draft, talk, plan_of(draft.answer(**numbers)))


def _ask_augment(draft: Draft, talk: Talk) -> Draft:
    return _ask_each(draft, talk, ("epochs",))


def _ask_custom(draft: Draft, talk: Talk) -> Draft:
    return _ask_each(draft, talk, ("epochs", "learning_rate", "lora_rank"))


ASKS: dict[str, Callable[[Draft, Talk], Draft]] = {
    "incremental": _ask_incremental,
    "retune": _ask_retune,
    "augment": _ask_augment,
    "custom": _ask_custom,
}


def _ask_each(draft: Draft, talk: Talk, names: Sequence[str]) -> Draft:
    """One number after the other; Back goes to the one before, and from the first one out of here.

    Whoever comes back to `draft` from what is asked next comes back to the last number.
    """
    answers: list[Draft] = [draft]
    last = talk.memory.pop("numbers", answers)
    if last[0] is draft:
        answers = last[:-1] or answers
    while len(answers) <= len(names):
        try:
            answers.append(ask_number(names[len(answers) - 1], answers[-1], talk))
        except Back:
            if len(answers) == 1:
                raise
            answers.pop()
    talk.memory["numbers"] = answers
    return answers[-1]


def ask_number(name: str, draft: Draft, talk: Talk) -> Draft:
    """Epochs, learning rate or rank: to be kept, one that is worth offering, or one's own."""
    now = getattr(plan_of(draft), name)
    values, notes, first = _worth_offering(name, draft, now)
    columns = [(t("menu.keep", value=number_text(name, now)), _price(draft, talk, plan_of(draft)), "")]
    for value, note in zip(values, notes, strict=True):
        columns.append((number_text(name, value), _price(draft, talk, plan_of(draft.answer(**{name: value}))), note))
    rows = in_columns([now, *values], columns)
    message = t(f"ask.{name}", now=number_text(name, now), dialogues=_count(draft), **_advice(draft))
    return draft.answer(**{name: _select_or_type(name, message, rows, talk, first)})


def _advice(draft: Draft) -> dict[str, str]:
    low, high = advised_epochs(_count(draft))
    return {"low": f"{low:g}", "high": f"{high:g}"}


def _worth_offering(name: str, draft: Draft, now: float) -> tuple[list[float], list[str], float]:
    """Values but for the present one, what is said of each, and where the cursor stands."""
    if name == "epochs":
        low, high = advised_epochs(_count(draft))
        middle = (low + high) / 2
        found = {low: "", middle: t("advice.epochs", dialogues=_count(draft)), high: ""}
        first = middle if draft.request.strategy == "augment" else now
    else:
        found = {advice.value: t(f"advice.{advice.key}") for advice in (RATES if name == "learning_rate" else RANKS)}
        first = now
    if name == "lora_rank":
        found = {int(value): note for value, note in found.items()}
    others = {value: note for value, note in found.items() if value != now}
    return list(others), list(others.values()), first


def _price(draft: Draft, talk: Talk, plan: TrainPlan) -> str:
    cost = talk.prices.of(draft, plan)
    return time_text(cost.duration) if cost else ""


def _select_or_type(name: str, message: str, rows: Sequence[Row], talk: Talk, first: Any) -> Any:
    while True:
        own = Row("typed", t("ask.own_number"))
        chosen = talk.select(name, message, [*rows, own], flag=f"--{name}", first=first)
        if chosen != "typed":
            return chosen
        try:
            return _type(name, talk)
        except Back:
            continue


def _type(name: str, talk: Talk) -> float:
    def wrong(line: str) -> Wrong | None:
        try:
            read_number(name, line)
        except UserError as error:
            return Wrong.of(error)
        except (ValueError, OverflowError):
            return Wrong(t("ask.not_whole" if name == "lora_rank" else "ask.not_a_number", example=EXAMPLES[name]))
        return None

    return read_number(name, talk.text(f"{name} typed", t(f"number.{name}"), flag=f"--{name}", check=wrong))


def read_number(name: str, word: str) -> float:
    """Read `word` as the value of a plan's number; raises UserError out of range, ValueError where it is none."""
    plain = unicodedata.normalize("NFKC", word).strip().replace("。", ".")
    field = "epochs" if name == "add_epochs" else name
    value = int(float(plain)) if name == "lora_rank" and float(plain).is_integer() else float(plain)
    if name == "lora_rank" and not isinstance(value, int):
        raise ValueError(word)
    TrainPlan(**{field: value})  # type: ignore[arg-type]
    return value

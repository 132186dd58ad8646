"""One function for each question: plain facts in, a plain value out.

All raise Cancelled at Ctrl-C and DecisionNeeded without a terminal; those with a way back raise Back.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.errors import Cancelled, UserError
from lora_trainer.plan import TrainPlan
from pipeline.strategies import ADD_EPOCHS, RANKS, RATES, STRATEGIES, advised_epochs, strategy, suggestions
from wizard import prompts
from wizard.prompts import Back
from wizard.words import rate_text, t


@dataclass(frozen=True)
class Existing:
    """What is known of a model whose name is taken; None where there is no record of it."""

    in_ollama: bool | None
    """None where Ollama wasn't or couldn't be asked."""
    runs: int = 0
    epochs: float | None = None
    date: str | None = None


@dataclass(frozen=True)
class BaseOffer:
    """A base model worth offering: `source` as for --base_model; what is said of it stands under `base.<key>`."""

    source: str
    key: str


def ask_name(default: str, existing: Sequence[str]) -> str:
    """The model's name, as typed."""
    message = t("ask.name_existing", names=_listed(existing)) if existing else t("ask.name")
    return prompts.text(message, flag="--ollama_name", default=default, check=_empty)


def ask_which_model(existing: Sequence[str]) -> str:
    """One of the models that are there."""
    return prompts.select(t("ask.which_model"), [(name, name) for name in existing], flag="--ollama_name")


def ask_data(folders: Sequence[Path]) -> Path:
    """One of several folders with dialogues."""
    return Path(prompts.select(t("ask.data"), [(folder, str(folder)) for folder in folders], flag="--data_dir"))


def ask_base_model(offers: Sequence[BaseOffer]) -> str:
    """A base model: one of the offers, or anything that --base_model takes."""
    rows: list[tuple[str, str]] = [(offer.source, f"{offer.source}  {t(f'base.{offer.key}')}") for offer in offers]
    while True:
        chosen = prompts.select(t("ask.base_model"), [*rows, ("", t("ask.base_model_other"))], flag="--base_model")
        if chosen:
            return str(chosen)
        try:
            return prompts.text(
                t("ask.base_model_text"),
                flag="--base_model",
                check=_empty,
                back=True,
            )
        except Back:
            continue


def ask_on_exists(name: str, facts: Existing) -> str:
    """What to do with the model that is there: continue, overwrite, skip or cancel."""
    trained = "ask.exists_trained" if facts.in_ollama is None else "ask.exists_unregistered"
    message = t("ask.exists" if facts.in_ollama else trained, name=name)
    if facts.epochs is not None:
        message += t("ask.exists_record", runs=facts.runs, epochs=facts.epochs, date=facts.date)
    choices = [(choice, t(f"menu.exists.{choice}")) for choice in ("continue", "overwrite", "skip", "cancel")]
    return str(prompts.select(message, choices, flag="--on_exists"))


def ask_strategy(dialogues: int) -> str:
    """One of the four strategies."""
    rows = [
        (row.name, f"{row.emoji} {t(f'strategy.{row.name}.title')}  {t(f'strategy.{row.name}.about')}")
        for row in STRATEGIES
    ]
    default = "augment" if dialogues < 20 else "incremental"
    return str(prompts.select(t("ask.strategy"), rows, flag="--strategy", default=default))


def ask_strategy_numbers(name: str, record: TrainPlan | None, dialogues: int, *, sums: bool = True) -> dict[str, float]:
    """The numbers that the strategy `name` asks for; `sums`: added epochs are added to the recorded ones."""
    known = record or TrainPlan()
    row = strategy(name)
    asks: dict[str, Callable[[], float]] = {
        "add_epochs": lambda: ask_added_epochs(record if sums else None),
        "epochs": lambda: ask_epochs(
            suggestions("augment" if name == "augment" else "custom", record, dialogues), dialogues
        ),
        "learning_rate": lambda: ask_rate(known.learning_rate),
        "lora_rank": lambda: ask_rank(known.lora_rank),
    }
    while True:
        preset = _ask_preset(row.presets) if row.presets else None
        if preset is not None:
            return dict(preset)
        try:
            return _in_order({number: asks[number] for number in row.asks})
        except Back:
            if not row.presets:
                raise


def _in_order(asks: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Ask one after the other; Back goes to the one before, and from the first one out of here."""
    names = list(asks)
    answers: dict[str, float] = {}
    while len(answers) < len(names):
        try:
            answers[names[len(answers)]] = asks[names[len(answers)]]()
        except Back:
            if not answers:
                raise
            answers.popitem()
    return answers


def _ask_preset(presets: Mapping[str, Mapping[str, float]]) -> Mapping[str, float] | None:
    rows: list[tuple[Any, str]] = [
        (
            preset,
            t(
                f"preset.{key}",
                epochs=preset["epochs"],
                rate=rate_text(preset["learning_rate"]),
                rank=preset["lora_rank"],
            ),
        )
        for key, preset in presets.items()
    ]
    rows.append((None, t("preset.own")))
    answer: Mapping[str, float] | None = prompts.select(t("ask.preset"), rows, flag="--learning_rate", back=True)
    return answer


def ask_added_epochs(record: TrainPlan | None) -> float:
    """How many epochs to train beyond the recorded ones."""
    rows = []
    for advice in ADD_EPOCHS:
        total = t("ask.added_total", total=record.epochs + advice.value) if record else ""
        rows.append((advice.value, f"+{advice.value}  {t(f'advice.{advice.key}')}{total}"))
    return _select_or_type("add_epochs", t("ask.add_epochs"), rows, 1.5)


def ask_epochs(suggested: Mapping[str, float], dialogues: int) -> float:
    """How many epochs to train in total."""
    low, high = advised_epochs(dialogues)
    message = t("ask.epochs", dialogues=dialogues, low=low, high=high)
    if dialogues < 20:
        message += t("ask.epochs_few")
    return ask_number("epochs", message, suggested["epochs"])


def ask_rate(default: float) -> float:
    """The learning rate, with the guide's advice."""
    rows = [(advice.value, f"{rate_text(advice.value)}  {t(f'advice.{advice.key}')}") for advice in RATES]
    return _select_or_type("learning_rate", t("ask.learning_rate", now=rate_text(default)), rows, default)


def ask_rank(default: int) -> float:
    """The LoRA rank, with the guide's advice."""
    rows = [(advice.value, f"{advice.value:g}  {t(f'advice.{advice.key}')}") for advice in RANKS]
    return _select_or_type("lora_rank", t("ask.lora_rank", now=default), rows, default)


def _select_or_type(name: str, message: str, rows: Sequence[tuple[float, str]], default: float) -> float:
    while True:
        chosen = prompts.select(
            message, [*rows, (None, t("ask.own_number"))], flag=f"--{name}", default=default, back=True
        )
        if chosen is not None:
            return _number(name, str(chosen))
        try:
            return ask_number(name, t(f"number.{name}"), default)
        except Back:
            continue


def ask_number(name: str, message: str, default: float) -> float:
    """A number for the field `name` of a TrainPlan (or added epochs), within its range."""
    shown = rate_text(default) if name == "learning_rate" else f"{default:g}" if name == "lora_rank" else str(default)
    line = prompts.text(
        message,
        flag=f"--{name}",
        default=shown,
        check=lambda line: _wrong(lambda word: _number(name, word), line),
        back=True,
    )
    return _number(name, line)


def _number(name: str, word: str) -> float:
    """Read `word` as the value of a plan's number; raises UserError out of range, ValueError where it is none."""
    plain = unicodedata.normalize("NFKC", word).strip().replace("。", ".")
    field = "epochs" if name == "add_epochs" else name
    value = int(float(plain)) if name == "lora_rank" and float(plain).is_integer() else float(plain)
    if name == "lora_rank" and not isinstance(value, int):
        raise ValueError(word)
    TrainPlan(**{field: value})  # type: ignore[arg-type]
    return value


def _empty(line: str) -> str | None:
    return None if line else t("ask.empty")


def _wrong(read: Callable[[str], Any], line: str) -> str | None:
    """What a user is told about a line that `read` refuses."""
    try:
        read(line)
    except UserError as error:
        return t(error.key, **error.values).replace("\n", " ")
    except (ValueError, OverflowError):
        return t("ask.not_a_number", example="3.5")
    return None


def ask_many_epochs(epochs: float) -> bool:
    """Whether more than ten epochs are really meant."""
    return prompts.confirm(t("ask.many_epochs", epochs=epochs), flag="--yes", default=False, back=True)


def ask_confirm_review() -> None:
    """Start? Raises Back for changes and Cancelled for no."""
    choices = [(choice, t(f"menu.review.{choice}")) for choice in ("start", "change", "cancel")]
    answer = prompts.select(t("ask.review"), choices, flag="--yes")
    if answer == "change":
        raise Back
    if answer == "cancel":
        raise Cancelled("error.cancelled")


def _listed(names: Sequence[str], limit: int = 8) -> str:
    return ", ".join(names[:limit]) + (" …" if len(names) > limit else "")

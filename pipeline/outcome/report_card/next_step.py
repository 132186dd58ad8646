"""The one next step that mends what a card found: symptoms to strategies, rows to epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.outcome.card import NextStep
from pipeline.outcome.report_card.verdict import MOST_ENDLESS, Facts, Verdict

DEFAULT_RATE, SLOW_RATE = "2e-4", 1e-4
"""The learning rate as a flag, and below what one is slow."""
QUALITY_RATE, QUALITY_RANK = "1e-4", 16
"""Where answers aren't good enough although they were practised for long."""
LEAST_MORE, MOST_MORE = 1.0, 3.0
"""Epochs that incremental training adds."""
LONGER = 1.5
"""Epochs more where the answers are too short."""
SHORT = 0.6
"""Answers of less than this part of the taught length are short."""
FEWEST_FOR_LENGTH = 5
"""Of fewer answers no average is made."""


@dataclass(frozen=True)
class _Commands:
    """The flags of what can be done with a run's model."""

    name: str
    number: int
    is_published: bool
    rungs: Sequence[tuple[float, int]] = ()
    """(epochs, number) of the shorter runs of its ladder."""
    standing: int | None = None
    """The number of the run that stands in Ollama."""

    def go_on(self, *flags: str) -> tuple[str, ...]:
        return ("--ollama_name", self.name, "--continue_train", *flags)

    def up_to(self, epochs: float) -> tuple[str, ...]:
        """The same dialogues from the base model, nothing changed but the epochs."""
        return self.go_on("--strategy", "augment", "--epochs", f"{epochs:g}")

    def add(self, epochs: float) -> tuple[str, ...]:
        return self.go_on("--strategy", "incremental", "--add_epochs", f"{epochs:g}")

    def retune(self, rate: str, rank: int, epochs: float) -> tuple[str, ...]:
        numbers = ("--learning_rate", rate, "--lora_rank", str(rank), "--epochs", f"{epochs:g}")
        return self.go_on("--strategy", "retune", *numbers)

    def publish(self, *flags: str) -> tuple[str, ...]:
        return (*self.take_run(self.number), *flags)

    def take_run(self, number: int) -> tuple[str, ...]:
        return ("--ollama_name", self.name, "--register_only", "--run", str(number))

    def begin_anew(self, epochs: float) -> tuple[str, ...]:
        return ("--ollama_name", self.name, "--force", "--epochs", f"{epochs:g}")

    def roll_back(self) -> tuple[str, ...]:
        return ("--ollama_name", self.name, "--rollback")


def next_step(
    verdict: Verdict,
    facts: Facts,
    record: Mapping[str, Any],
    *,
    rungs: Sequence[tuple[float, int]] = (),
    standing: Mapping[str, Any] | None = None,
) -> NextStep:
    """What mends what the verdict says, with the flags of its command, the model's name among them.

    `rungs`: (epochs, number) of the trained runs of its ladder that are shorter, shortest first; `standing`: the record
    of the run whose model stands in Ollama.
    """
    number, stands = int(record["number"]), int(standing["number"]) if standing is not None else None
    commands = _Commands(str(record["name"]), number, bool(record.get("publications")), rungs, stands)
    return _STEPS[verdict](facts, commands)


def _use(facts: Facts, commands: _Commands) -> NextStep:
    after = facts.after
    if after is not None and after.of >= FEWEST_FOR_LENGTH and after.length < SHORT * facts.taught.length:
        return NextStep("longer", {"add": LONGER}, commands.add(LONGER))
    return NextStep("talk") if commands.is_published else NextStep("use", {}, commands.publish())


def _look(_: Facts, commands: _Commands) -> NextStep:
    return NextStep("look", {}, commands.publish("--compare"))


def _keep(_: Facts, commands: _Commands) -> NextStep:
    return NextStep("back", {}, commands.roll_back()) if commands.is_published else NextStep("keep")


def _steady(facts: Facts, commands: _Commands) -> NextStep:
    """Out of character now and then: more epochs where there is room for them, else the numbers for better quality."""
    course = facts.course
    (low, high), middle = course.advised, sum(course.advised) / 2
    if course.epochs < middle:
        advice = {"rows": course.rows, "low": low, "high": high, "epochs": middle}
        return NextStep("augment", advice, commands.up_to(middle))
    values = {"rate": QUALITY_RATE, "rank": QUALITY_RANK, "epochs": course.epochs}
    return NextStep("quality", values, commands.retune(QUALITY_RATE, QUALITY_RANK, course.epochs))


def _more(facts: Facts, commands: _Commands) -> NextStep:
    """Learnt too little: a rate that moves something, a higher rank, more data, or more epochs."""
    course = facts.course
    (low, high), middle = course.advised, sum(course.advised) / 2
    rank = course.plan.lora_rank
    if course.plan.learning_rate < SLOW_RATE:
        epochs = max(course.epochs, low)
        values = {"rate": DEFAULT_RATE, "rank": rank, "epochs": epochs}
        return NextStep("higher_rate", values, commands.retune(DEFAULT_RATE, rank, epochs))
    if course.epochs >= high:
        rank = max(QUALITY_RANK, 2 * rank)
        values = {"rate": DEFAULT_RATE, "rank": rank, "epochs": course.epochs}
        return NextStep("higher_rank", values, commands.retune(DEFAULT_RATE, rank, course.epochs))
    if facts.has_few_rows:
        return NextStep("augment_few", {"rows": course.rows, "epochs": middle}, commands.up_to(middle))
    add = min(MOST_MORE, max(LEAST_MORE, round(2 * (middle - course.epochs)) / 2))
    return NextStep("more_epochs", {"rows": course.rows, "low": low, "high": high, "add": add}, commands.add(add))


def _less(facts: Facts, commands: _Commands) -> NextStep:
    """Trained too long: an earlier point, or a shorter rung of its ladder, else fewer epochs, else other data: no
    number mends what is too little.
    """
    course = facts.course
    (low, high), middle = course.advised, sum(course.advised) / 2
    earlier = [epochs for epochs in course.points if epochs < course.epochs]
    if earlier:
        point = max((epochs for epochs in earlier if epochs <= high), default=earlier[0])
        values = {"points": " / ".join(f"{epochs:g}" for epochs in course.points), "point": point}
        return NextStep("choose_point", values, commands.publish("--point", f"{point:g}"))
    if commands.rungs:
        epochs, number = max((rung for rung in commands.rungs if rung[0] <= high), default=commands.rungs[0])
        if number == commands.standing:
            return NextStep("keep")
        values = {"rungs": " / ".join(f"{rung:g}" for rung, _ in commands.rungs), "epochs": epochs, "number": number}
        return NextStep("choose_rung", values, commands.take_run(number))
    if course.epochs > high:
        values = {"rows": course.rows, "low": low, "high": high, "epochs": middle}
        return NextStep("fewer_epochs", values, commands.up_to(middle))
    return NextStep("more_data", {"rows": course.rows}, commands.go_on())


def _end(facts: Facts, commands: _Commands) -> NextStep:
    """A few answers that go round in circles were trained too long; what has never learnt to end is begun anew."""
    after, course = facts.after, facts.course
    if after is not None and after.endless <= MOST_ENDLESS * after.of and 2 * after.looping >= after.endless:
        return _less(facts, commands)
    (low, high), middle = course.advised, sum(course.advised) / 2
    values = {"rows": course.rows, "low": low, "high": high, "epochs": middle}
    return NextStep("from_base", values, commands.begin_anew(middle))


_STEPS: Mapping[Verdict, Callable[[Facts, _Commands], NextStep]] = {
    "learned": _use,
    "nearly": _steady,
    "too_little": _more,
    "overfitted": _less,
    "does_not_stop": _end,
    "worse": _keep,
    "unseen": _look,
}

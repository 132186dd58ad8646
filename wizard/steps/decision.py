"""May the new model take its place in Ollama? Asked when it is trained, exported and proven; until then nothing is
replaced, and whoever leaves finds the question again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lora_trainer.errors import Cancelled
from pipeline.job import Job
from pipeline.outcome.answers import comparison_of
from pipeline.outcome.card import Card, habit_count, habit_count_before
from pipeline.outcome.judged import best_of, judged_points, judged_runs
from pipeline.outcome.points import Point, points_of
from pipeline.outcome.validation import is_comparable
from pipeline.run.history import Run
from pipeline.run.standing import Standing, look, other_rungs
from wizard import outcome, prompts
from wizard.commands import command
from wizard.prompts import Back, in_columns
from wizard.screen.card import said
from wizard.screen.layout import aligned, shortened
from wizard.screen.training import size
from wizard.steps.talk import Talk
from wizard.words import t

ANSWER_CELLS = 60
_INSTEAD: Mapping[str, tuple[str, ...]] = {
    "overfitted": ("points", "decline"),
    "too_little": ("train_on",),
    "does_not_stop": ("decline",),
    "worse": ("decline",),
}
"""Verdict -> what is recommended in place of publishing, the first of them that can be chosen."""


@dataclass(frozen=True)
class Decision:
    """What is to become of a trained run."""

    choice: str
    """publish, train_on, decline or wait."""
    run: Run
    """The one that is meant: another rung of the same ladder, perhaps."""
    point: Point | None = None
    """What of it is published; None: its end."""
    note: str = ""
    keeps_points: bool = False
    """The other points stay as well."""


def is_asked(job: Job) -> bool:
    """Whether somebody is there to decide; scripts, `--yes` and `--register_only` have said that it be published."""
    said = job.request.yes or job.request.register_only
    return job.client is not None and prompts.can_ask() and not said


def decide(job: Job, run: Run, talk: Talk, stop: Callable[[], bool]) -> Decision:
    """Ask what is to become of `run`, which waits. Esc lets it wait; Ctrl-C too, and raises Cancelled."""
    stands = look(job.history, job.name, job.client)
    talk.screen.settle()
    if stands.run is not None and _replaces(stands):
        _show_sides(stands.run, run, talk)
    while True:
        try:
            chosen = _ask(job, run, stands, talk)
            if chosen == "again":
                outcome.after_training(job, run, talk.screen, stop)
                talk.memory.pop("decision")
                continue
            if chosen == "train_on":
                return Decision(chosen, run)
            decision = Decision(chosen, run)
            if chosen == "points":
                decision = _choose_point(job, run, talk)
            return _noted(decision, stands, talk)
        except Back as back:
            if back.args:
                return Decision("wait", run)
        except Cancelled:
            raise cancelled(job.name, run) from None


def cancelled(name: str, run: Run) -> Cancelled:
    """Ctrl-C at the decision, or on the way to train on: the run waits."""
    return Cancelled("error.cancelled.waits", name=name, number=run.number, command=way_back(name))


def way_back(name: str) -> str:
    """The command that asks again."""
    return command("--ollama_name", name)


def _replaces(stands: Standing) -> bool:
    """Whether a model is there that would make room; where Ollama doesn't tell, the records do."""
    return stands.in_ollama is True or (stands.in_ollama is None and stands.run is not None)


def _ask(job: Job, run: Run, stands: Standing, talk: Talk) -> str:
    replaces, points = _replaces(stands), [*points_of(run)]
    rungs = other_rungs(job.history, run)
    kept = t("menu.decide.replace.kept") if job.request.backups else ""
    words = {
        "publish": (t("menu.decide.replace"), kept)
        if replaces
        else (t("menu.decide.publish"), f"ollama run {job.name}"),
        "points": (
            t("menu.decide.points", epochs=_lengths(point.epochs for point in points)),
            t("menu.decide.points.about"),
        ),
        "train_on": (t("menu.decide.train_on"), ""),
        "again": (t("menu.decide.again"), ""),
        "decline": (t("menu.decide.keep_old"), t("menu.decide.keep_old.about"))
        if replaces
        else (t("menu.decide.later"), t("menu.decide.later.about")),
    }
    if rungs:
        words["points"] = (t("menu.decide.rungs", epochs=_lengths(rung.plan.epochs for rung in [*rungs, run])), "")
    elif len(points) < 2:
        del words["points"]
    order = ["publish", "decline", "again", "points", "train_on"] if replaces else [*words]
    names = [name for name in order if name in words]
    rows = in_columns(names, [words[name] for name in names])
    message = t("ask.replace") if replaces else t("ask.publish", name=job.name, number=run.number)
    verdict = (run.record.get("card") or {}).get("verdict", "")
    first = next((name for name in _INSTEAD.get(verdict, ()) if name in names), "publish")
    try:
        return str(talk.select("decision", message, rows, flag="--yes", first=first))
    except Back:
        raise Back("wait") from None


def _lengths(epochs: Iterable[float]) -> str:
    return t("word.comma").join(f"{one:.1f}" for one in sorted(epochs))


def _show_sides(old: Run, new: Run, talk: Talk) -> None:
    """The standing run and the new one, side by side by what both have measured."""
    losses = [_val_loss(old), _val_loss(new)]
    heads = [t("decide.old", number=old.number), t("decide.new", number=new.number)]
    rows = [
        ["", *heads],
        [t("decide.epochs"), f"{old.taught.epochs:.1f}", f"{new.taught.epochs:.1f}"],
        [t("decide.val_loss"), *("-" if loss is None else f"{loss:.2f}" for loss in losses)],
    ]
    habits = _habits(old, new)
    if any(habits):
        rows.append([t("decide.habits"), *("-" if each is None else "{}/{}".format(*each) for each in habits)])
    lines = aligned(rows)
    talk.screen.text("\n".join("  " + line for line in lines))
    if None not in losses and not is_comparable(old, new):
        talk.screen.text("  " + t("decide.other_rows"))


def _habits(old: Run, new: Run) -> list[tuple[int, int] | None]:
    """In how many of how many answers each has the data's commonest habit: of the same questions, where both answered
    them.
    """
    comparison = comparison_of(new.record)
    before = comparison.before if comparison else None
    same = before is not None and before.kind == "run" and before.run == old.number
    return [habit_count_before(new.record) if same else habit_count(old.record), habit_count(new.record)]


def _val_loss(run: Run) -> float | None:
    training = run.record.get("training", {})
    if (point := run.taught_point) is not None:
        return next((p["val_loss"] for p in training.get("points", ()) if p["step"] == point["step"]), None)
    losses = training.get("val_losses") or []
    return float(losses[-1][1]) if losses else None


def _choose_point(job: Job, run: Run, talk: Talk) -> Decision:
    """Which length is published: of a ladder its rungs, else the points that were kept along the way. Raises Back."""
    rungs = sorted([*other_rungs(job.history, run), run], key=lambda rung: rung.plan.epochs)
    if len(rungs) > 1:
        judged = judged_runs(rungs)
        columns = [(_length(rung.plan.epochs), _loss_text(_val_loss(rung)), _warnings(card)) for rung, card in judged]
        chosen = _select("rung", columns, [rung.number for rung in rungs], best_of(judged).number, talk)
        return Decision("publish", next(rung for rung in rungs if rung.number == chosen))
    points = judged_points(run)
    answers = [shortened(next(iter(point.answers), ""), ANSWER_CELLS) for point, _ in points]
    columns = [
        (_length(point.epochs), _loss_text(point.val_loss), _warnings(card) or answer)
        for (point, card), answer in zip(points, answers, strict=True)
    ]
    step = _select("point", columns, [point.step for point, _ in points], best_of(points).step, talk)
    return Decision("publish", run, next(point for point, _ in points if point.step == step))


def _warnings(card: Card | None) -> str:
    """What a card warns of, in a word or two each."""
    about = [said(line)[0] for line in card.lines if line.mark == "warning"] if card else []
    return f"! {t('word.comma').join(about)}" if about else ""


def _select(question: str, columns: list[tuple[str, str, str]], values: list[int], first: int, talk: Talk) -> Any:
    rows = in_columns(values, columns)
    return talk.select(question, t("ask.point"), rows, flag="--point", first=first)


def _length(epochs: float) -> str:
    return t("decide.length", epochs=f"{epochs:.1f}")


def _loss_text(loss: float | None) -> str:
    return "" if loss is None else t("decide.loss", loss=f"{loss:.2f}")


def _noted(decision: Decision, stands: Standing, talk: Talk) -> Decision:
    """The decision with a line of the user's own, and whether the other points stay. Raises Back."""
    steps: list[Callable[[Decision], Decision]] = []
    if _replaces(stands):
        steps.append(lambda one: replace(one, note=_ask_note(talk)))
    # who has looked through them may want to come back to another one
    if decision.point is not None and (others := _other_points(decision)):
        steps.append(lambda one: replace(one, keeps_points=_ask_whether_points_stay(others)))
    for step in steps:
        decision = step(decision)
    return decision


def _ask_note(talk: Talk) -> str:
    return talk.text("note", t("ask.decision_note"), flag="--yes", check=lambda _: None)


def _other_points(decision: Decision) -> list[Point]:
    """The points whose adapters are there for nothing but to be chosen."""
    points = [point for point in points_of(decision.run) if point.adapter.parent.name == "points"]
    return [point for point in points if decision.point is None or point.step != decision.point.step]


def _ask_whether_points_stay(points: list[Point]) -> bool:
    taken = sum(file.stat().st_size for point in points for file in point.adapter.iterdir())
    return prompts.confirm(t("ask.keep_points", count=len(points), size=size(taken)), flag="--yes")

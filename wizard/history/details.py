"""One run, with all that its record knows of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from pipeline.outcome.again import begins_with_adapter, request_again
from pipeline.outcome.answers import comparison_of
from pipeline.outcome.asked import Side
from pipeline.outcome.card import Card
from pipeline.outcome.note import cleaned
from pipeline.outcome.past import Past
from pipeline.run.history import Run
from wizard.commands import command_of
from wizard.history.lines import command_lines, curve_text, labelled, said, values_of
from wizard.history.table import Signs, epochs_text, habits_text, made_text, way_text
from wizard.screen.card import said as sentence_of
from wizard.screen.card import step, verdict
from wizard.screen.layout import cells, shortened
from wizard.screen.plan import corrected_text, files_text, number_text
from wizard.screen.training import duration, size
from wizard.words import local_time, t

_NUMBERS = (
    "learning_rate", "lora_rank", "lora_alpha", "lora_dropout", "batch_size", "max_length", "seed", "scheduler",
    "early_stop", "qlora",
)  # fmt: skip
"""Of a plan, beside its epochs."""
_FILES = ("report.html", "loss.png", "Modelfile")


def details(run: Run, past: Past, backups: Sequence[str] | None, width: int, signs: Signs, blocks: str) -> list[str]:
    """Everything about a run, in lines of at most `width` cells; `backups` are None where Ollama didn't tell them."""
    name = str(run.record["name"])
    title = signs.page + t("history.details", name=name, number=run.number)
    star = t("history.stands", star=signs.star) if past.stands else ""
    head = [f"{title}  {star}".rstrip()] if cells(title + star) + 2 <= width else [title, star]
    lines = [*head, signs.rule * width]
    lines += _rows([*_made(run, past), *_learned(run, past, signs, blocks)], width)
    lines += _judged(run, width)
    lines += _answers(run, width)
    lines += ["", *_rows(_kept(run, backups), width)]
    again = request_again(run)
    if again is None:
        key = "history.again.warm" if begins_with_adapter(run) else "page.again.unknown"
        return [*lines, "", *labelled([(t("history.again"), t(key))], width)]
    command = command_of(again)
    shown = command_lines(command, width) if os.name == "posix" else [command]
    return [*lines, "", f"  {t('history.again')}", *shown]


def _rows(rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Those that say something."""
    return labelled([(label, text) for label, text in rows if text], width)


def _made(run: Run, past: Past) -> list[tuple[str, str]]:
    """When and how."""
    record, plan = run.record, run.plan
    comma = t("word.comma")
    made = [way_text(past), made_text(past), t(f"status.{record['status']}")]
    if record.get("parent") is not None and record.get("strategy") is not None:
        made.append(t("history.parent", number=record["parent"]))
    if record.get("warm_start") is not None:
        made.append(t("plan.first_adapter", number=record["warm_start"]))
    elif began := record.get("began_with"):
        made.append(t("history.began_with", number=began["run"], step=began["step"]))
    learned = t("plan.epochs", epochs=epochs_text(plan.epochs))
    if record.get("point"):
        learned += comma + t("history.point", epochs=epochs_text(past.epochs))
    numbers = [
        f"{t(f'number.{name}')} {number_text(name, getattr(plan, name))}" for name in _NUMBERS if getattr(plan, name)
    ]
    return [
        (t("history.date"), _times(record)),
        (t("history.time"), _stages(run)),
        (t("history.note"), past.note),
        (t("history.way"), comma.join(dict.fromkeys(made))),
        (t("history.why"), _reason(record)),
        (t("history.epochs"), learned),
        (t("plan.numbers"), comma.join(numbers)),
        (t("plan.base_model"), str((record.get("base") or {}).get("source") or "")),
        (t("plan.data"), data_text(record)),
        ("", change_text(record)),
        (t("plan.system"), shortened(cleaned(record.get("system") or ""), 200) or t("word.none")),
        (t("plan.parameter"), _served(record)),
    ]


def numbers_of(run: Run) -> list[tuple[str, str]]:
    """(what, its value) of every number of the plan beside its epochs; what is off isn't among them."""
    values = {name: getattr(run.plan, name) for name in _NUMBERS}
    return [(t(f"number.{name}"), number_text(name, value)) for name, value in values.items() if value]


def _times(record: dict[str, Any]) -> str:
    times = [local_time(str(record[name])) for name in ("created", "finished") if record.get(name)]
    return " → ".join(times)


def _stages(run: Run) -> str:
    told = [f"{t(f'stage.{name}')} {duration(stage['seconds'])}" for name, stage in run.record["stages"].items()]
    return t("word.comma").join(told)


def _reason(record: dict[str, Any]) -> str:
    """Why it didn't reach its end, in one line."""
    error = record.get("error") or {}
    try:
        return t(error["key"], **(error.get("values") or {})).partition("\n")[0] if error else ""
    except (KeyError, IndexError, ValueError):  # another version's values
        return str(error.get("key", ""))


def data_text(record: dict[str, Any]) -> str:
    """Which dialogues, and how many."""
    data = record.get("data") or {}
    files = files_text([str(file) for file in data.get("files") or ()])
    corrections = data.get("corrections") or 0
    rows = data["rows"] - corrections if corrections else data.get("rows", "?")
    values = {"files": files, "rows": rows, "corrected": corrected_text(corrections), "answers": data.get("turns", "?")}
    if data.get("val_rows"):
        return t("plan.data_and_val", val=data["val_rows"], **values)
    return t("plan.data_only", **values)


def change_text(record: dict[str, Any]) -> str:
    """What changed in them since the run before."""
    change = (record.get("data") or {}).get("change") or {}
    if not (change.get("new") or change.get("gone")):
        return ""
    return t("history.change", new=change.get("new", 0), gone=change.get("gone", 0))


def _served(record: dict[str, Any]) -> str:
    told = [str(record["quantize"])] if record.get("quantize") else []
    told += [f"{name} {value}" for name, value in (record.get("parameters") or {}).items() if name != "stop"]
    return t("word.comma").join(told)


def _learned(run: Run, past: Past, signs: Signs, blocks: str) -> list[tuple[str, str]]:
    """What came of it."""
    training = run.record.get("training") or {}
    general = training.get("general_loss")
    unlike = (
        f"  {signs.unlike} {t('history.unlike_short')}" if past.val_loss is not None and not past.comparable else ""
    )
    rows = [
        (t("summary.loss"), curve_text(training.get("losses"), blocks)),
        (t("summary.val_loss"), curve_text(training.get("val_losses"), blocks) + unlike),
        ("", lowest_text(run)),
        (t("history.habits"), "" if past.habits is None else habits_text(past.habits)),
        (t("history.general"), f"{general['before']:.2f} → {general['after']:.2f}" if general else ""),
    ]
    points = [_point(point, past, signs) for point in training.get("points") or ()]
    return [*rows, (t("history.points"), "\n".join(points))]


def _judged(run: Run, width: int) -> list[str]:
    """The report card, where it was judged and this version can read it."""
    try:
        card = Card.from_record(run.record["card"])
        facts = [sentence_of(line) for line in card.lines]
        rows = [(t("page.verdict"), verdict(card)), *facts, (t("page.next"), step(card.next_step))]
    except (LookupError, TypeError, AttributeError, ValueError):
        return []
    return ["", *_rows(rows, width)]


def lowest_text(run: Run) -> str:
    """Where the validation loss was lowest; empty where that is its end."""
    training = run.record.get("training") or {}
    losses = [(step, loss) for step, loss in training.get("val_losses") or () if loss is not None]
    if len(values_of(losses)) < 2:
        return ""
    step, loss = min(losses, key=lambda point: point[1])
    if step == losses[-1][0]:
        return ""
    rows = (run.record.get("data") or {}).get("rows")
    epoch = step / run.plan.steps_per_epoch(int(rows)) if rows else run.plan.epochs * step / losses[-1][0]
    return t("history.lowest", epochs=f"{epoch:.1f}", loss=f"{loss:.2f}")


def _point(point: dict[str, Any], past: Past, signs: Signs) -> str:
    loss = "-" if point.get("val_loss") is None else f"{point['val_loss']:.2f}"
    general = "" if point.get("general_loss") is None else f"{point['general_loss']:.2f}"
    told = t("history.a_point", epochs=epochs_text(point["epochs"]), loss=loss)
    if general:
        told += t("word.comma") + t("history.a_point.general", loss=general)
    return told + (f"  {signs.star}" if past.stands and abs(point["epochs"] - past.epochs) < 1e-6 else "")


def _kept(run: Run, backups: Sequence[str] | None) -> list[tuple[str, str]]:
    """Where it lies."""
    from pipeline.publishing import gguf_path

    there = [run.folder / name for name in ("adapter", *_FILES)]
    there = [path for path in (*there, gguf_path(run)) if path.exists()]
    told = [f"{path.name}  {size(_bytes(path))}" for path in there]
    held = t("history.backups.unknown") if backups is None else ", ".join(backups) or t("word.none")
    return [(t("summary.record"), "\n".join([str(run.folder), *told])), (t("history.backups"), held)]


def _bytes(path: Any) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(int(file.stat().st_size) for file in files if file.is_file())


def _answers(run: Run, width: int) -> list[str]:
    """Questions with their answers: of the comparison, else of the last evaluation of the training."""
    comparison = comparison_of(run.record)
    told: list[tuple[str, str]] = []
    if comparison is not None:
        for asked in comparison.asked:
            told.append((t("history.asks"), said(asked.question.text)))
            if comparison.before is not None and asked.before is not None:
                told.append((side_text(comparison.before), said(asked.before.text)))
            told.append((side_text(comparison.after), said(asked.after.text)))
        return ["", f"  {t('history.compared')}", *labelled(told, width)]
    samples = (run.record.get("training") or {}).get("samples") or []
    last = [one for one in samples if one["step"] == samples[-1]["step"]]
    for one in last:
        told += [(t("history.asks"), said(one["question"])), (t("history.answers"), said(one["answer"]))]
    return ["", *labelled(told, width)] if told else []


def side_text(side: Side) -> str:
    """Who answered."""
    if side.kind == "run" and side.run is not None:
        return t("home.run", number=side.run)
    return t("plan.base_model") if side.kind == "base" else side.name

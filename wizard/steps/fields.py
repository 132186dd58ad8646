"""Any flag as a question: what the table of flags knows of it decides how it is asked and what is wrong there."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_trainer.errors import UserError
from lora_trainer.plan import TrainPlan
from pipeline.flags import FLAGS, Flag
from pipeline.serving import DEFAULT_QUANTIZE, Serving
from wizard import prompts
from wizard.prompts import Row, Wrong, in_columns
from wizard.screen.plan import number_text
from wizard.steps.draft import Draft
from wizard.steps.planned import plan_of
from wizard.words import t

BY_NAME = {flag.name: flag for flag in FLAGS}
UNDONE_BY = {"qlora": "no_qlora", "keep_chat_template": "no_keep_chat_template"}
"""Switches that are kept from run to run, and what says no to them."""


def ask_field(name: str, draft: Draft) -> Any:
    """The value of the flag `name`: None or False is the usual one. Raises Back."""
    flag = BY_NAME[name]
    if flag.kind == "switch":
        rows: list[Row | tuple[Any, str]] = [(False, t("word.no")), (True, t("word.yes"))]
        return prompts.select(_title(name), rows, flag=f"--{name}", default=bool(value_of(name, draft)))
    if flag.choices:
        rows = [Row(choice, choice) for choice in flag.choices]
        if name == "scheduler":
            rows = [*in_columns(flag.choices, [(choice, t(f"scheduler.{choice}")) for choice in flag.choices])]
        return prompts.select(_title(name), rows, flag=f"--{name}", default=value_of(name, draft))
    now = value_of(name, draft)
    line = prompts.text(
        _title(name),
        flag=f"--{name}",
        default="" if now is None else number_text(name, now),
        check=lambda line: _wrong(flag, line, draft),
    )
    return _read(flag, line)


def value_of(name: str, draft: Draft) -> Any:
    """What the draft has under the flag `name`, wherever it comes from; None where nothing is said."""
    plan, taken = plan_of(draft), draft.taken
    if hasattr(plan, name):
        return getattr(plan, name)
    if name == "system":
        return draft.data.system if draft.data else None
    if taken is not None and name == "quantize":
        return taken.serving.quantize
    if taken is not None and name == "keep_chat_template":
        return taken.serving.keep_chat_template
    if taken is not None and name in taken.serving.sampled_with:
        return taken.serving.sampled_with[name]
    if name == "keep_backups":
        return draft.request.backups
    return getattr(draft.request, name)


def answer(name: str, value: Any, draft: Draft) -> Draft:
    """The draft with the answer to `ask_field`. Raises UsageError where it doesn't go with what else is said."""
    if name in UNDONE_BY and value is False:
        return draft.answer(**{name: False, UNDONE_BY[name]: True})
    if name == "system":
        return draft.answer(system=value or None, no_system=not value)
    if name == "ladder" and value and draft.request.strategy == "incremental":
        return draft.answer(strategy="custom", ladder=value)
    return draft.answer(**{name: value})


def _title(name: str) -> str:
    about = t(f"field.{name}.about") if name in EXPLAINED else ""
    return t("ask.field", field=t(f"field.{name}") + about)


def _read(flag: Flag, line: str) -> Any:
    plain = line if flag.kind in ("text", "path") else unicodedata.normalize("NFKC", line).replace("。", ".")
    if not plain:
        return None
    if flag.kind == "int":
        return int(plain)
    if flag.kind == "float":
        return float(plain)
    if flag.kind == "path":
        from pipeline.offers.typed import clean_path

        return clean_path(plain)
    return plain


def _wrong(flag: Flag, line: str, draft: Draft) -> Wrong | None:
    try:
        value = _read(flag, line)
        if value is None and flag.name in TrainPlan.__dataclass_fields__:
            return Wrong(t("ask.empty"))
        if isinstance(value, Path) and not value.exists():
            return Wrong(t("ask.no_such_path", path=value))
        answer(flag.name, value, draft)
    except UserError as error:
        return Wrong.of(error)
    except (ValueError, OverflowError):
        key = "ask.not_whole" if flag.kind == "int" else "ask.not_a_number"
        return Wrong(t(key, example=DEFAULTS.get(flag.name, "4")))
    return None


EXPLAINED = ("temperature", "lora_alpha", "ladder")
"""Fields of which their question says more."""
DEFAULTS = {"quantize": DEFAULT_QUANTIZE, "epochs": "3.5", "learning_rate": "2e-4", "temperature": "0.7"}
"""An example of what can be written."""


def served(draft: Draft) -> Serving:
    """How the model is to be served, with answers told apart from flags."""
    assert draft.taken is not None
    serving = draft.taken.serving
    said = {name for name, source in serving.sources.items() if source == "flag" and name in draft.answered}
    return replace(serving, sources={**serving.sources, **dict.fromkeys(said, "answer")})


def sources(draft: Draft) -> dict[str, str]:
    """Where data and system prompt came from, with answers told apart from flags."""
    assert draft.taken is not None
    answered = {"data": {"data_dir", "train_file", "rows_of_run"}, "system": {"system", "no_system"}}
    told = dict(draft.taken.sources)
    said = [what for what, source in told.items() if source == "flag" and answered[what] & draft.answered]
    return {**told, **dict.fromkeys(said, "answer")}

"""The request that would train a recorded run once more, whatever has become of the files that it was trained on."""

from __future__ import annotations

from typing import Any

from lora_trainer.errors import UsageError
from lora_trainer.plan import TrainPlan, default_batch_size
from pipeline.request import PLAN_NUMBERS, Request
from pipeline.run.history import Run
from pipeline.run.rows import has_rows
from pipeline.serving import DEFAULT_QUANTIZE, SAMPLING


def request_again(run: Run) -> Request | None:
    """The same rows and numbers from the same base model, under the same name, whose present model is kept as a backup.

    None for a run that began with another one's adapter: no request names that, but for the model that stands. None,
    too, where the record lacks what a request would say, or has it in a form that this version doesn't know.
    """
    if begins_with_adapter(run):
        return None
    try:
        return Request(**_asked(run))
    except (AttributeError, LookupError, TypeError, ValueError, UsageError):
        return None


def begins_with_adapter(run: Run) -> bool:
    """Whether a run began with what another one had learnt."""
    return run.record.get("warm_start") is not None


def _asked(run: Run) -> dict[str, Any]:
    record = run.record
    asked: dict[str, Any] = {"ollama_name": record["name"], "on_exists": "overwrite"}
    asked |= {"base_model": record["base"]["source"], **_numbers(run)}
    if has_rows(run.folder):
        asked["rows_of_run"] = run.number
    else:
        from pipeline.run.kept import train_file_of

        asked["train_file"] = train_file_of(run)
    if record.get("system_source") == "flag" and record.get("system"):
        asked["system"] = record["system"]
    elif record.get("system_source") == "none":
        asked["no_system"] = True
    if run.thinks:
        asked["thoughts"] = "train"
    served = record.get("parameters") or {}
    asked |= {name: served[name] for name in SAMPLING if name in served}
    if record.get("quantize", DEFAULT_QUANTIZE) != DEFAULT_QUANTIZE:
        asked["quantize"] = record["quantize"]
    asked["keep_chat_template"] = bool(record.get("keep_chat_template"))
    return asked


def _numbers(run: Run) -> dict[str, Any]:
    """The flags of every number that isn't the default."""
    if "epochs" not in run.record["plan"]:
        raise LookupError("epochs")  # the plan's own default is nobody's number
    plan, rows = run.plan, (run.record.get("data") or {}).get("rows")
    # alpha follows the rank where nobody says otherwise
    usual = TrainPlan(lora_rank=plan.lora_rank, batch_size=default_batch_size(rows or 0))
    names = [*PLAN_NUMBERS, "scheduler", "early_stop", "qlora"]
    given = {name: getattr(plan, name) for name in names if getattr(plan, name) != getattr(usual, name)}
    if plan.lora_rank != TrainPlan().lora_rank:
        given["lora_rank"] = plan.lora_rank
    return {"epochs": plan.epochs, **given}

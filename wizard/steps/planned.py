"""The numbers that a draft comes to as it stands."""

from __future__ import annotations

from collections.abc import Mapping

from lora_trainer.plan import TrainPlan
from pipeline.strategies import plan_for
from wizard.steps.draft import Draft


def plan_of(draft: Draft, suggested: Mapping[str, float] | None = None) -> TrainPlan:
    """The numbers of the draft as it stands."""
    said = {**dict.fromkeys(draft.answered, "answer"), **dict.fromkeys(draft.advised, "strategy")}
    count = len(draft.data.train) if draft.data else 0
    return plan_for(draft.request, draft.record, suggested or {}, count, said=said, new_base=on_itself(draft))


def on_itself(draft: Draft) -> bool:
    """Whether what stands is the base model, so that earlier epochs are in it and only this run's are counted."""
    return draft.new_base and draft.base == f"ollama:{draft.name}"

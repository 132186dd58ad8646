"""Draft: what is decided so far of one run, by flags and by answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipeline.run.standing import Standing
from wizard import prompts

if TYPE_CHECKING:
    from lora_trainer.plan import TrainPlan
    from pipeline.job import Dataset
    from pipeline.request import Request
    from pipeline.run.base_model import BaseModel
    from pipeline.run.kept import TakenOver
    from pipeline.run.published import OllamaClient
    from pipeline.run.rows import Change
    from pipeline.run.standing import Pending

UNKNOWN = Standing(None, None)


@dataclass(frozen=True)
class Draft:
    """Every answer is a field of the request, as a flag is; the facts that follow from it stand beside it."""

    request: Request
    answered: frozenset[str] = frozenset()
    """Fields of the request that were answered rather than given by flags."""
    advised: frozenset[str] = frozenset()
    """Fields that hold the program's own advice, which follows the data until somebody says otherwise."""
    name: str = ""
    """The model's canonical name."""
    client: OllamaClient | None = None
    stands: Standing = UNKNOWN
    pending: Pending | None = None
    """The unfinished run that goes on: nothing more is asked."""
    choice: str = ""
    """new, continue, overwrite or skip."""
    shown: Mapping[str, Any] | None = None
    """What Ollama tells of a model that was made elsewhere and is continued."""
    taken: TakenOver | None = None
    data: Dataset | None = None
    change: Change | None = None
    told: str = ""
    """The fingerprint of the dialogues of which it was told how they differ from those taught before."""
    base: str = ""
    recorded: Mapping[str, Any] | None = None
    """The record of the base model, where that one is meant."""
    found: BaseModel | None = None
    """That model, where it was looked at and is there."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the base model is downloaded with."""
    base_shown: Mapping[str, Any] | None = None
    """What Ollama tells of the base model of a new character."""
    new_base: bool = False
    """The base model of the run that stands is gone, and another one takes its place."""
    strategy: str | None = None
    plan: TrainPlan | None = None
    is_complete: bool = False
    """Nothing more is to be asked."""

    def answer(self, **answers: Any) -> Draft:
        """The same with answers to questions, by flag."""
        request = self.request.answering(**answers)
        # what an answer has put out of the request is no advice any more
        advised = frozenset(name for name in self.advised - answers.keys() if getattr(request, name) is not None)
        return replace(self, request=request, answered=self.answered | answers.keys(), advised=advised)

    def advise(self, **advice: Any) -> Draft:
        """The same with what the program recommends where nobody has said anything."""
        draft = self.answer(**advice)
        return replace(draft, answered=draft.answered - advice.keys(), advised=draft.advised | advice.keys())

    @property
    def is_asked(self) -> bool:
        """Whether somebody is there who wants to be asked."""
        return prompts.can_ask() and not self.request.yes

    @property
    def record(self) -> TrainPlan | None:
        """The numbers of the run that is continued, as long as what stands of it has learned."""
        return self.stands.run.taught if self.stands.run and self.choice == "continue" else None

"""The comparison: the model that stands (of a new name: the base model) and the trained one answer the same questions.

Both are asked with the same seed and sampling, one after the other, never both in memory. An answer that a record of
this home has already, of the same model to the same question, isn't asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lora_trainer.errors import BaseModelError, ConversionError, Interrupted, OllamaError, ResourceError
from lora_trainer.events import Listener, Note, Progress, StageDone, StageStarted, ignore
from ollama_export.llama_cpp.engine import is_installed, sampled_by
from pipeline.outcome.asked import Answer, Asked, Comparison, Question
from pipeline.outcome.comparison.markdown import keep_markdown
from pipeline.outcome.comparison.questions import questions_of
from pipeline.outcome.comparison.respondents import (
    ANSWER_TOKENS,
    TEMPORARY,
    Respondent,
    Sampling,
    ask,
    of_base,
    of_other,
    of_run,
)
from pipeline.run.history import History, Run
from pipeline.run.standing import look
from pipeline.run.stopped import interrupted
from pipeline.serving import serving_of

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient
    from pipeline.job import Job

Stop = Callable[[], bool]
Before = Run | str | None
"""Who is compared with: a run, a model in Ollama that was made elsewhere, by its name, or (None) the base model."""
ASKED_OF = "asked_of"
"""Beside a comparison in the record: by what the answers of each side are known again."""
_CANT_BE_ASKED = (BaseModelError, ConversionError, OllamaError, ResourceError)
_MOST_SEED = 2**31 - 1


class Comparing:
    """A run's model and the one before it, to be asked the same; a context manager: what was made for it goes with it.

    `parameters` by Ollama's names are those that the run is served with, where nobody says otherwise.
    """

    def __init__(
        self,
        run: Run,
        before: Before,
        *,
        history: History,
        client: OllamaClient | None = None,
        llama_cpp: Path | None = None,
        parameters: Mapping[str, Any] | None = None,
        answer_tokens: int = ANSWER_TOKENS,
        listener: Listener = ignore,
        stop: Stop = lambda: False,
    ) -> None:
        self.run, self.listener = run, listener
        self._history, self._client, self._stop = history, client, stop
        served = serving_of(run.record).sampled_with if parameters is None else parameters
        self.sampling = Sampling(sampled_by(served), _seed(run, served), answer_tokens)
        self._after = of_run(run, client, llama_cpp, listener, beside=run.folder)
        self._before: Respondent | None = None
        try:
            self._before = self._find_before(before, llama_cpp)
        except _CANT_BE_ASKED as error:
            self._give_up_before(error)

    def _find_before(self, before: Before, llama_cpp: Path | None) -> Respondent:
        if isinstance(before, str):
            return of_other(before)
        if before is not None:
            return of_run(before, self._client, llama_cpp, self.listener, beside=self.run.folder)
        return of_base(self.run, self._client, llama_cpp, self.listener)

    def __enter__(self) -> Self:
        self.close()  # what a killed one has left
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the GGUFs that were made to be asked."""
        for made in self.run.folder.glob(f"*{TEMPORARY}*"):
            made.unlink(missing_ok=True)

    @property
    def interrupted(self) -> Interrupted:
        """What a stop in the middle has left, and how it goes on."""
        return interrupted(self.run.record["name"], self.run, registers=self._client is not None)

    @property
    def can_answer(self) -> bool:
        """Whether the trained model can be asked at all: without llama.cpp only where it stands in Ollama."""
        return self._after.find is None or is_installed()

    def ask(self, questions: Sequence[Question]) -> tuple[Asked, ...]:
        """Both answers to each question. Where the model before can't be asked that is told as a Note.

        Raises Interrupted, and ConversionError, OllamaError, BaseModelError or ResourceError where the trained one
        can't be asked.
        """
        known = [self._known(who, questions) for who in (self._before, self._after)]
        total, done = sum(len(questions) - len(answers) for answers in known), 0

        def heard() -> None:
            nonlocal done
            if self._stop():
                raise self.interrupted
            self.listener(Progress("compare", min(done, total), total))
            done += 1

        before: list[Answer | None] = [None] * len(questions)
        if self._before is not None and (self._before.find is None or is_installed()):
            try:
                before[:] = self._all(self._before, questions, known[0], heard)
            except _CANT_BE_ASKED as error:
                self._give_up_before(error)
        done = max(0, total - (len(questions) - len(known[1])))
        after = self._all(self._after, questions, known[1], heard)
        return tuple(Asked(*one) for one in zip(questions, before, after, strict=True))

    def compare(self, questions: Sequence[Question]) -> Comparison | None:
        """As `ask`, with who was asked and how; None, with a Note, where nobody can be asked."""
        if not self.can_answer:
            self.listener(Note("note.compare.no_engine"))
            return None
        asked = self.ask(questions)
        side = self._before.side if self._before is not None and any(one.before for one in asked) else None
        return Comparison(side, self._after.side, asked, self.sampling.seed, dict(self.sampling.parameters))

    @property
    def recorded(self) -> Comparison | None:
        """The comparison that the run's record has, where it is of these two models as they are now."""
        record = self.run.record.get("comparison")
        if not record or record.get(ASKED_OF) != self._asked_of:
            return None
        found = Comparison.from_record(record)
        same = dict(found.parameters) == dict(self.sampling.parameters) and found.seed == self.sampling.seed
        return found if same else None

    @property
    def _asked_of(self) -> dict[str, str | None]:
        sides = (("before", self._before), ("after", self._after))
        return {name: who.fingerprint(self.sampling) if who else None for name, who in sides}

    def to_record(self, comparison: Comparison) -> dict[str, Any]:
        """What of it goes into the run's record under `comparison`."""
        return {**comparison.to_record(), ASKED_OF: self._asked_of}

    def _all(
        self,
        who: Respondent,
        questions: Sequence[Question],
        known: Mapping[Question, Answer],
        heard: Callable[[], None],
    ) -> list[Answer]:
        unknown = [question for question in questions if question not in known]
        said = ask(who, unknown, self.sampling, self._client, self.listener, heard) if unknown else []
        found = {**known, **dict(zip(unknown, said, strict=True))}
        return [found[question] for question in questions]

    def _known(self, who: Respondent | None, questions: Sequence[Question]) -> dict[Question, Answer]:
        """The answers that records of this home have."""
        fingerprint = who.fingerprint(self.sampling) if who else None
        if fingerprint is None:
            return {}
        wanted = {(question.text, question.system): question for question in questions}
        found: dict[Question, Answer] = {}
        for run in (run for name in self._history.names() for run in self._history.readable(name)):
            record = run.record.get("comparison") or {}
            for side, of in record.get(ASKED_OF, {}).items():
                if of != fingerprint:
                    continue
                for one in Comparison.from_record(record).asked:
                    question = wanted.get((one.question.text, one.question.system))
                    answer = one.before if side == "before" else one.after
                    if question is not None and answer is not None:
                        found[question] = answer
        return found

    def _give_up_before(self, error: BaseModelError | ConversionError | OllamaError | ResourceError) -> None:
        self._before = None
        self.listener(Note("note.compare.no_before"))
        self.listener(Note(error.key, error.values))


def comparing_of(job: Job, run: Run, listener: Listener, stop: Stop) -> Comparing:
    """A job's run and who it is compared with."""
    return Comparing(
        run,
        compared_with(run, job.previous, job.history, job.client),
        history=job.history,
        client=job.client,
        llama_cpp=job.request.llama_cpp,
        parameters=job.serving.sampled_with,
        listener=listener,
        stop=stop,
    )


def compare_and_keep(both: Comparing) -> Comparison | None:
    """The step between proving and publishing: compares, and keeps that in the run's record and as comparison.md.

    Raises Interrupted. Whatever else keeps it from being done is told as a Note: it holds up no publishing.
    """
    run, listener, started = both.run, both.listener, time.monotonic()
    listener(StageStarted("compare", run.record["name"]))
    try:
        comparison = both.compare(questions_of(run, listener))
    except _CANT_BE_ASKED as error:
        listener(Note("note.compare.failed"))
        listener(Note(error.key, error.values))
        return None
    except KeyboardInterrupt:
        raise both.interrupted from None
    if comparison is not None:
        keep(run, both.to_record(comparison), time.monotonic() - started)
        listener(StageDone("compare", time.monotonic() - started))
    return comparison


def keep(run: Run, record: Mapping[str, Any], seconds: float | None = None) -> None:
    """Write a comparison as comparison.md, and enter it into a run's record, as a stage where it took `seconds`."""
    # the page first: what the record has isn't made again
    keep_markdown(run, record)
    if seconds is None:
        run.update(comparison=dict(record))
    else:
        run.mark_done("compare", seconds, comparison=dict(record))


def compared_with(run: Run, previous: Run | None, history: History, client: OllamaClient | None) -> Before:
    """Who a run is compared with: the run that it continues or replaces, else what stands under its name and was made
    elsewhere, else the base model.
    """
    if previous is not None and previous.number != run.number and previous.has_done("train"):
        return previous
    name = run.record["name"]
    return name if client is not None and look(history, name, client).made_elsewhere else None


def _seed(run: Run, parameters: Mapping[str, Any]) -> int:
    """The seed that the model is served with, else the run's own; none is a seed for llama.cpp and Ollama alike that
    is below 0.
    """
    served = parameters.get("seed", -1)
    return int(served if served >= 0 else run.plan.seed) % _MOST_SEED

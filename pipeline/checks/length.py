"""How long a dialogue may be: in a base model's tokens, as a training counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.dataset import common_system
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.data.encode import encode, encoder_for, longest
from lora_trainer.data.findings import Finding
from lora_trainer.data.formats import Row
from lora_trainer.data.reading import Reader
from lora_trainer.data.written import trim
from lora_trainer.errors import DataError, UsageError
from lora_trainer.events import Doing, Listener, Note
from lora_trainer.plan import TrainPlan
from pipeline.request import MEASURING, Request
from pipeline.run.base_model import base_model_named, base_model_of, recorded_base_here, recorded_base_model
from pipeline.run.history import History
from pipeline.run.kept import take_over

if TYPE_CHECKING:
    from lora_trainer.models.source import BaseModel
    from pipeline.job import Job

Files = Sequence[tuple[Path, bytes]]
"""Training file and, where there is one, validation file, with what is in them."""


@dataclass(frozen=True)
class Length:
    """The most tokens of a dialogue that a training takes, and all that its tokens depend on."""

    tokenizer: Any
    chat_format: ChatFormat
    most: int
    system: str | None
    """The system prompt that somebody chose; None: the one that most training rows have."""
    no_system: bool
    thoughts: bool
    """What was thought before an answer is learnt, too."""

    def fits(self, files: Files) -> Callable[[Row], bool]:
        """Whether the training on these files takes a row by its length."""
        encoder = encoder_for(self.chat_format, self.tokenizer)
        system, _ = self._read(files)

        def fits(row: Row) -> bool:
            thoughts = tuple(row.thoughts) if self.thoughts else ()
            dialogue = Dialogue(tuple(row.messages), "", 0, unlearnt=row.unlearnt, thoughts=thoughts)
            seen = Reader(system).with_system([dialogue], Path(), self.no_system)
            return longest(next(encoder.encode(seen))) <= self.most

        return fits

    def faults(self, files: Files) -> list[Finding]:
        """What the training on these files refuses in rows that can be read: too many tokens, and control tokens."""
        _, dialogues = self._read(files)
        return encode(dialogues, self.chat_format, self.tokenizer, self.most)[1]

    def _read(self, files: Files) -> tuple[str | None, list[Dialogue]]:
        """The training's system prompt, and the dialogues of all files under it."""
        reader = Reader(None if self.no_system else trim(self.system or "") or None, thoughts=self.thoughts)
        read = []
        for file, data in files:
            try:
                read.append((file, reader.take(file, data)))
            except DataError:
                # a file without rows is told where it is read
                continue
        if reader.system is None and not self.no_system:
            reader.system = common_system(dialogue for file, rows in read if file == files[0][0] for dialogue in rows)
        return reader.system, [row for file, rows in read for row in reader.with_system(rows, file, self.no_system)]


def length_in(job: Job, listener: Listener) -> Length:
    """What the training of a job takes. Raises BaseModelError."""
    request = job.taken.request if job.taken else job.request
    thoughts = job.dataset is not None and job.dataset.has_thoughts
    return _of_base(base_model_of(job, listener), job.plan.max_length, request, thoughts=thoughts)


def length_meant(request: Request, history: History, listener: Listener) -> Length | None:
    """What a training on the base model of a flag takes, or of a character's record.

    None where there is neither, and where the recorded base model isn't on this machine, which is said. With
    `--max_length` that one is fetched. Raises UsageError, DataError and BaseModelError.
    """
    from ollama_export.server.names import check_name

    name = check_name(request.ollama_name) if request.ollama_name is not None else ""
    run = history.newest(name) if name else None
    if run is None and request.base_model is None:
        for flag in (name for name in MEASURING if getattr(request, name) not in (None, False)):
            raise UsageError("error.flag.needs", flag=f"--{flag}", other="--base_model")
        return None
    most = request.max_length or (run.plan if run else TrainPlan()).max_length
    listener(Doing("base_model"))
    base: BaseModel | None
    if request.base_model is not None:
        base = base_model_named(request.base_model, None, listener)
    else:
        assert run is not None
        record = run.record["base"]
        base = (
            recorded_base_model(record, None, listener)
            if request.max_length is not None
            else recorded_base_here(record, None, listener)
        )
        if base is None:
            listener(Note("note.mend.no_base", {"source": record["source"]}))
            return None
    taken = take_over(request, run).request
    return _of_base(base, most, taken, thoughts=taken.thoughts == "train")


def _of_base(base: BaseModel, most: int, request: Request, *, thoughts: bool) -> Length:
    from lora_trainer.models.load import chat_format_of, load_tokenizer

    tokenizer = load_tokenizer(base)
    chat_format = chat_format_of(base, tokenizer, thoughts=thoughts)
    return Length(tokenizer, chat_format, most, request.system, request.no_system, thoughts)

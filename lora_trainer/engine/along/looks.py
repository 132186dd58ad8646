"""What is looked at behind every evaluation, beside the validation loss: samples, and the loss on general text.

All of it is written into the log, and so into the checkpoints: a run that goes on knows what it has seen. Several
processes: the first one looks, the others wait; where the weights are split among them nobody does, since all would
have to join in for every token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.along.general import as_base_model, loss_on, page_of
from lora_trainer.engine.along.points import epochs_at
from lora_trainer.engine.along.samples import LEAST, Clock, Prompt, answer, seconds_allowed
from lora_trainer.engine.along.seen import digest_of, general_losses
from lora_trainer.engine.checkpoints import best_step
from lora_trainer.engine.fallback import give_memory_back, is_out_of_memory
from lora_trainer.events import Doing, Note, Sampled

if TYPE_CHECKING:
    from lora_trainer.engine.checkpointing import CheckpointingTrainer

GENERAL_SHARE = 0.02
"""Between the first and the last time, the general text takes at most this part of the steps' time."""


class Looks:
    """Answers some prompts and reads a page of general text behind the evaluations of a run."""

    def __init__(self, tokenizer: Any, prompts: Sequence[Prompt], general_text: str | None, max_length: int) -> None:
        self.tokenizer, self.prompts = tokenizer, tuple(prompts)
        self.page = page_of(general_text, tokenizer, max_length) if general_text else None
        self.text = digest_of(general_text)

    def look(self, trainer: CheckpointingTrainer) -> None:
        """Look once; a stop that is asked for ends it, and what fails is told and not tried again."""
        if trainer.args.process_index or trainer.is_fsdp_enabled:
            return
        with _in_eval_mode(trainer.model):
            if self.page is not None and (reason := _failure(trainer, self._read)):
                self.page = None
                trainer.listener(Note("note.along.general", {"reason": reason}))
            if self.prompts and (reason := _failure(trainer, self._ask)):
                self.prompts = ()
                trainer.listener(Note("note.along.samples", {"reason": reason}))

    # general text

    def _read(self, trainer: CheckpointingTrainer) -> None:
        history, step = trainer.state.log_history, trainer.state.global_step
        known = general_losses(history, self.text)
        page = self.page
        assert page is not None
        if None not in known:
            with as_base_model(trainer.model):
                self._note(trainer, page, None)
        if step and step not in known and self._is_wanted(trainer, history, step):
            self._note(trainer, page, step)

    def _is_wanted(self, trainer: CheckpointingTrainer, history: Sequence[dict[str, Any]], step: int) -> bool:
        """At the end and at what may be published; at other points where it costs little."""
        ends = step == trainer.state.max_steps or trainer.control.should_training_stop
        if ends or (trainer.plan.early_stop and best_step(history) == step):
            return True
        read = [entry["seconds"] for entry in history if "general_loss" in entry]
        steps = sum(entry["seconds"] for entry in history if "loss" in entry)
        due = trainer.points is not None and trainer.points.is_due(step)
        # the first time is the base model's
        return due and sum(read[1:]) + read[-1] <= GENERAL_SHARE * steps

    def _note(self, trainer: CheckpointingTrainer, page: EncodedSequence, step: int | None) -> None:
        began = time.perf_counter()
        with trainer.compute_loss_context_manager():
            loss = loss_on(trainer.model, page, trainer.args.device)
        entry = {"step": step or 0, "general_loss": loss, "base": step is None, "text": self.text}
        trainer.state.log_history.append({**entry, "seconds": time.perf_counter() - began})

    # samples

    def _ask(self, trainer: CheckpointingTrainer) -> None:
        history, step = trainer.state.log_history, trainer.state.global_step
        if any("samples" in entry and entry["step"] == step for entry in history):
            return
        for number, prompt in enumerate(self.prompts):
            allowed = seconds_allowed(history, len(prompt.ids))
            if not allowed or trainer.stop():
                return
            if number == 0:
                trainer.listener(Doing("sample"))
            in_time = Clock(allowed)
            ids, stopped = answer(
                trainer.model,
                prompt,
                trainer.args.device,
                trainer.compute_loss_context_manager,
                lambda in_time=in_time: in_time() and not trainer.stop(),  # type: ignore[misc]
            )
            # what was broken off may end within a character
            said = self.tokenizer.decode(ids, skip_special_tokens=True).rstrip("\ufffd").strip()
            enough = stopped or len(ids) >= LEAST
            told = [{"question": prompt.question, "answer": said, "stopped": stopped}] if enough else []
            history.append({"step": step, "samples": told, "tokens": len(ids), **in_time.times()})
            if told:
                epochs = epochs_at(trainer.plan, step, len(trainer.rows))
                trainer.listener(Sampled(step, epochs, prompt.question, said, stopped))


@contextmanager
def _in_eval_mode(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _failure(trainer: CheckpointingTrainer, look: Callable[[CheckpointingTrainer], None]) -> str:
    """Look; why that failed, in one line, or nothing."""
    try:
        look(trainer)
    except Exception as error:  # a model may have a forward of its own; its training isn't to end by this
        reason = str(error).partition("\n")[0] or type(error).__name__
        lacks_memory = is_out_of_memory(error)
    else:
        return ""
    # the error is gone, and with it what its traceback kept in memory
    if lacks_memory:
        give_memory_back(trainer.args.device.type)
    return reason

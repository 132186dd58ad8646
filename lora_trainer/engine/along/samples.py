"""What the model answers while it learns: a few fixed questions, greedily, through the forward that is trained.

No bit of the training depends on it: nothing random is drawn, no gradient is kept, and the model is left in the mode
that it was in. Only how much is asked is up to the clock. All answers of a run take at most SHARE of the time of its
steps so far: one is begun where that holds its prompt and LEAST tokens, by what these have taken before, and ends with
its end-of-turn token, after MOST tokens, or where the time is used up. So there is none of the base model, before the
first step.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lora_trainer.chat_format import ChatFormat

SHARE = 0.05
"""Of the steps' time."""
MOST = 80
"""Tokens of an answer: two lines of a terminal."""
LEAST = 12
"""An answer of fewer tokens that was broken off says nothing."""


@dataclass(frozen=True)
class Prompt:
    """A question as the model reads it."""

    question: str
    ids: tuple[int, ...]
    """The prompt as the server builds it, BOS included where the tokenizer adds one."""
    end: int
    """The id of the end-of-turn token."""


@dataclass(frozen=True)
class Sample:
    """An answer after `step` steps; `stopped`: the model ended it, not the tokens or the time allowed."""

    step: int
    epochs: float
    question: str
    answer: str
    stopped: bool


def prompts_of(
    questions: Sequence[str], system: str | None, fmt: ChatFormat, tokenizer: Any, max_length: int
) -> tuple[Prompt, ...]:
    """Questions under a system prompt, for `train`; one that doesn't fit into `max_length` tokens is left out.

    Raises BaseModelError where the end-of-turn text isn't one token.
    """
    from lora_trainer.data.dialogues import Dialogue
    from lora_trainer.data.encode import encode

    found = []
    for question in questions:
        turns = [("system", system)] if system else []
        turns += [("user", question), ("assistant", "")]
        messages = tuple({"role": role, "content": text} for role, text in turns)
        rows, _ = encode([Dialogue(messages, "", 0)], fmt, tokenizer, max_length)
        for row in rows:
            (sequence,) = row.sequences
            found.append(Prompt(question, tuple(sequence.prompt_ids), sequence.completion_ids[-1]))
    return tuple(found)


def seconds_allowed(history: Sequence[Mapping[str, Any]], prompt_tokens: int) -> float:
    """Seconds that an answer to a prompt of so many tokens may take now, by the log of a run; 0 where they are too few.

    What reading the prompt and LEAST tokens take is told by the answer before. Of the first one nothing is known but
    the steps: a forward is a third of what they take for a token, and one token alone counts as a fourth of a prompt.
    """
    steps = [entry for entry in history if "loss" in entry]
    asked = [entry for entry in history if "samples" in entry]
    left = SHARE * sum(entry["seconds"] for entry in steps) - sum(entry["seconds"] for entry in asked) if steps else 0.0
    if asked:
        reading = max(entry["reading"] for entry in asked)
        answering = sum(entry["seconds"] - entry["reading"] for entry in asked)
        token = answering / max(1, sum(entry["tokens"] for entry in asked))
    else:
        computed = sum(entry.get("computed", entry["tokens"]) for entry in steps)
        reading = sum(entry["seconds"] for entry in steps) / 3 / max(1, computed) * prompt_tokens
        token = reading / 4
    return left if left > reading + LEAST * token else 0.0


def answer(
    model: Any,
    prompt: Prompt,
    device: Any,
    context: Callable[[], AbstractContextManager[Any]],
    go_on: Callable[[], bool],
) -> tuple[list[int], bool]:
    """The ids of a greedy answer without its end, and whether it came to that.

    `model`: a PEFT model in eval mode; `context`: what its forward is to be called in; `go_on` is asked before every
    token. Of a model that gives no cache of keys and values all is computed anew for every token.
    """
    import torch

    few = "logits_to_keep" in inspect.signature(model.get_base_model().forward).parameters
    more: dict[str, Any] = {"logits_to_keep": 1} if few else {}
    found: list[int] = []
    cache = None
    with torch.no_grad():
        while len(found) < MOST and go_on():
            read = found[-1:] if cache is not None else [*prompt.ids, *found]
            with context():
                out = model(
                    input_ids=torch.tensor([read], device=device), past_key_values=cache, use_cache=True, **more
                )
            cache = getattr(out, "past_key_values", None)
            token = int(out.logits[0, -1].argmax())
            if token == prompt.end:
                return found, True
            found.append(token)
    return found, False


class Clock:
    """Says whether so many seconds from now are over, and notes when it is asked."""

    def __init__(self, seconds: float) -> None:
        self.began = time.perf_counter()
        self.end = self.began + seconds
        self.asked: list[float] = []

    def __call__(self) -> bool:
        """Whether there is time left."""
        self.asked.append(time.perf_counter())
        return self.asked[-1] < self.end

    def times(self) -> dict[str, float]:
        """Seconds from its beginning to now, and those between the first two times that it was asked: of the prompt."""
        seconds = time.perf_counter() - self.began
        return {"seconds": seconds, "reading": self.asked[1] - self.asked[0] if len(self.asked) > 1 else seconds}

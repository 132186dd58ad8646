"""How many tokens a training computes, estimated from the dialogues' characters: no tokenizer is loaded for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from lora_trainer.data.dataset import Dataset
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.engine.batching import grouped_by_length
from lora_trainer.engine.prefix_tree import WORTH
from lora_trainer.engine.schedule import step_dialogues
from lora_trainer.plan import TrainPlan

LARGE_VOCABULARY = 100_000
"""Entries from which on a vocabulary has words of many languages; a smaller one spells Chinese in bytes."""
_TURN = 5
"""Tokens that a chat format writes around one message (ChatML: <|im_start|>role\\n … <|im_end|>\\n)."""
_LOOKED_AT = 400
"""Steps that are counted; the others are like them."""
_WIDE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_KINDS = tuple(map(re.compile, ("[A-Za-z ]+", "[0-9]+", "[\0-\x7f]+", f"[{_WIDE}]+")))
"""Letters and blanks, digits, what else is ASCII, Chinese, Japanese and Korean; the rest is the last kind."""
_WEIGHTS = ((0.225, 0.91, 0.945, 1.79, 1.72), (0.237, 1.0, 0.575, 0.75, 1.0))
"""Tokens that one character of each kind takes by a small vocabulary and by a large one: least squares over the rows of
data/ and data/demo/, README.md and docs/, by the tokenizers of SmolLM2 (49,152 entries) and Qwen3 (151,669)."""


@dataclass(frozen=True)
class _Talk:
    """One dialogue's tokens by the two vocabularies' weights."""

    system: str
    prompt: tuple[float, float]
    """Of its system prompt."""
    turns: tuple[tuple[tuple[float, float], tuple[float, float]], ...]
    """Of what is said before each answer that is learnt, and of the answer."""


@dataclass(frozen=True)
class Tokens:
    """How many tokens a whole training and one evaluation compute."""

    computed: float
    """Positions that go through the layers in all steps; what a step's dialogues begin with in common counts once."""
    supervised: float
    """Those that the output layer computes."""
    validated: float
    """Positions of one evaluation."""
    validated_answers: float
    longest: float
    """Of one dialogue."""


@dataclass(frozen=True)
class DataSize:
    """What of the dialogues counts for a training's time."""

    rows: int
    val_rows: int
    fingerprint: str
    talks: tuple[_Talk, ...] = field(repr=False)
    val_talks: tuple[_Talk, ...] = field(repr=False)

    def tokens(self, plan: TrainPlan, vocabulary: int, token_budget: int) -> Tokens:
        """Tokens of a training by `plan` on a model of so many vocabulary entries, micro-batches as large as said."""
        large = vocabulary >= LARGE_VOCABULARY
        total = plan.total_steps(self.rows)
        looked_at = min(total, _LOOKED_AT)
        computed = supervised = 0.0
        for step in range(looked_at):
            talks = [self.talks[i] for i in step_dialogues(plan, step, self.rows)]
            computed += _computed(talks, large, token_budget)
            supervised += _answers(talks, large)
        return Tokens(
            computed=computed / looked_at * total,
            supervised=supervised / looked_at * total,
            validated=_computed(self.val_talks, large, token_budget),
            validated_answers=_answers(self.val_talks, large),
            longest=max((talk.prompt[large] + _own(talk, large) for talk in self.talks if talk.turns), default=0.0),
        )


def data_size(dataset: Dataset) -> DataSize:
    """The size of what is trained and validated on."""
    return DataSize(
        rows=len(dataset.train),
        val_rows=len(dataset.val),
        fingerprint=dataset.fingerprint,
        talks=tuple(map(_talk, dataset.train)),
        val_talks=tuple(map(_talk, dataset.val)),
    )


def token_count(text: str, vocabulary: int) -> float:
    """About how many tokens a text takes by a vocabulary of so many entries."""
    return _counted(text)[vocabulary >= LARGE_VOCABULARY]


# a system prompt is the same one in most rows
@lru_cache(maxsize=256)
def _counted(text: str) -> tuple[float, float]:
    counts = []
    for kind in _KINDS:
        rest = kind.sub("", text)
        counts.append(len(text) - len(rest))
        text = rest
    counts.append(len(text))
    small, large = (sum(c * w for c, w in zip(counts, weights, strict=True)) for weights in _WEIGHTS)
    return small, large


def _talk(dialogue: Dialogue) -> _Talk:
    before, turns, learnt = (0.0, 0.0), [], dialogue.learnt
    for at, message in enumerate(dialogue.messages):
        small, large = _counted(message["content"])
        tokens = (small + _TURN, large + _TURN)
        if message["role"] == "system":
            continue
        if at in learnt:
            turns.append((before, tokens))
            before = (0.0, 0.0)
        else:
            before = (before[0] + tokens[0], before[1] + tokens[1])
    system = dialogue.system
    small, large = _counted(system) if system else (-_TURN, -_TURN)
    return _Talk(system or "", (small + _TURN, large + _TURN), tuple(turns))


def _answers(talks: Sequence[_Talk], large: bool) -> float:
    return sum(answer[large] for talk in talks for _, answer in talk.turns)


def _computed(talks: Sequence[_Talk], large: bool, token_budget: int) -> float:
    """Positions that the engine computes for one step's dialogues: as trees, or padded where these save too little.

    A dialogue's answers are one row, as they are with most chat formats.
    """
    trees = 0.0
    for system, count in Counter(talk.system for talk in talks).items():
        same = [talk for talk in talks if talk.system == system]
        own = sum(_own(talk, large) for talk in same)
        shared = same[0].prompt[large]
        # each tree has the beginning of its own
        room = max(token_budget - shared, own / count)
        trees += own + shared * max(1, -(-own // room))
    lengths = [max(1, round(talk.prompt[large] + _own(talk, large))) for talk in talks if talk.turns]
    groups = grouped_by_length([range(length) for length in lengths], token_budget)
    padded = sum(len(group) * len(group[0]) for group in groups)
    return trees if trees <= WORTH * padded else float(padded)


def _own(talk: _Talk, large: bool) -> float:
    """Tokens of a dialogue behind its prompt."""
    return sum(before[large] + answer[large] for before, answer in talk.turns)

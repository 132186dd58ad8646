"""Token ids in the shape of the example set: one system prompt for all, 1 to 6 turns, answers of 10 to 60 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, overload

from lora_trainer.data.encode import EncodedDialogue, EncodedSequence

PAD, END = 0, 1
SYSTEM, TURNS, QUESTION, ANSWER = 110, (1, 6), (5, 30), (10, 60)
"""Tokens of the system prompt; least and most turns, and tokens of a question and of an answer."""
_OPENING = [2, 3, 4]
"""What stands before an answer, as a chat template has it."""
LONGEST = SYSTEM + TURNS[1] * (QUESTION[1] + len(_OPENING) + ANSWER[1] + 1)
"""Tokens that a sequence has at most."""


class Rows(Sequence[EncodedDialogue]):
    """Encoded dialogues, with all that the engine asks of the program's own."""

    def __init__(self, dialogues: Sequence[EncodedDialogue]) -> None:
        self._dialogues = list(dialogues)

    def __len__(self) -> int:
        return len(self._dialogues)

    @overload
    def __getitem__(self, index: int) -> EncodedDialogue: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedDialogue]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._dialogues[index]

    def counts(self) -> tuple[int, int]:
        """Sequences and supervised tokens of all dialogues."""
        return sum(len(d.sequences) for d in self), sum(d.supervised_tokens for d in self)

    def most_tokens(self) -> tuple[int, int]:
        """Tokens of the longest sequence, and of the longest dialogue's sequences together."""
        sizes = [[len(sequence) for sequence in dialogue.sequences] for dialogue in self]
        return max(map(max, sizes)), max(map(sum, sizes))


class Writer:
    """Writes dialogues of random ids below `vocabulary`, by a seed."""

    def __init__(self, vocabulary: int, seed: int = 0) -> None:
        # seeded with a text: the same ids on every machine and version
        self._random = Random(f"{seed} dialogues")
        self._vocabulary = vocabulary
        self._system = self._tokens((SYSTEM, SYSTEM))

    def rows(self, count: int) -> Rows:
        """So many dialogues."""
        return Rows([self._dialogue() for _ in range(count)])

    def long_row(self, tokens: int) -> Rows:
        """One dialogue of one answer to a question of so many tokens."""
        sequence = EncodedSequence(self._tokens((tokens, tokens)), self._tokens(ANSWER))
        return Rows([EncodedDialogue((sequence,))])

    def _dialogue(self) -> EncodedDialogue:
        said, sequences = self._system, []
        for _ in range(self._random.randint(*TURNS)):
            prompt = said + self._tokens(QUESTION) + _OPENING
            answer = [*self._tokens(ANSWER), END]
            sequences.append(EncodedSequence(prompt, answer))
            said = prompt + answer
        return EncodedDialogue(tuple(sequences))

    def _tokens(self, least_and_most: tuple[int, int]) -> list[int]:
        length = self._random.randint(*least_and_most)
        return [self._random.randrange(_OPENING[-1] + 1, self._vocabulary) for _ in range(length)]


def whole(dialogue: EncodedDialogue) -> dict[str, list[int]]:
    """A dialogue as one example of others' trainers, all of its answers supervised: the same loss, each token once."""
    last = dialogue.sequences[-1]
    ids = last.prompt_ids + last.completion_ids
    labels = [-100] * len(ids)
    for sequence in dialogue.sequences:
        labels[len(sequence.prompt_ids) : len(sequence)] = sequence.completion_ids
    return {"input_ids": ids, "labels": labels}

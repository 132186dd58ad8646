"""Texts -> token ids: every answer behind its prompt as it is served, what texts share tokenised once."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain
from operator import iadd
from typing import Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.dialogues import Dialogue

Pair = tuple["array[int]", "array[int]"]
"""Token ids of a sequence's prompt and of its answer."""


class Encoder:
    """Tokenises dialogues as one base model's format writes them; `end_id` is the token that ends an answer."""

    def __init__(self, fmt: ChatFormat, tokenizer: Any, end_id: int) -> None:
        self.fmt, self.tokenizer, self.end = fmt, tokenizer, array("i", [end_id])
        self.bos = array("i", [tokenizer.bos_token_id] if fmt.tokenizer_adds_bos else [])
        self.cuts = _cuts(fmt, tokenizer)
        self.known: dict[str, array[int]] = {}
        # A tokenizer that puts a space before every text would put one before the answer too; where the model
        # itself would not write it, the answer is tokenised behind the generation prompt.
        behind = list(self._ids([fmt.generation_prompt, fmt.generation_prompt + "a", "a"]))
        differs = behind[1] != behind[0] + behind[2] and behind[1][: len(behind[0])] == behind[0]
        self.lead, self.lead_tokens = (fmt.generation_prompt, len(behind[0])) if differs else ("", 0)

    def encode(self, dialogues: Sequence[Dialogue]) -> Iterator[list[Pair]]:
        """The sequences of each dialogue: one for each answer that is learnt."""
        turns = [dialogue.learnt for dialogue in dialogues]
        texts = [
            text
            for dialogue, at in zip(dialogues, turns, strict=True)
            for i in at
            for text in (self.fmt.render(dialogue.messages[:i]), self.lead + self._completion(dialogue, i))
        ]
        ids = self._ids(texts)
        for at in turns:
            yield [(self.bos + next(ids), next(ids)[self.lead_tokens :] + self.end) for _ in at]

    def _completion(self, dialogue: Dialogue, at: int) -> str:
        return self.fmt.completion(dialogue.messages[at]["content"], dialogue.thought(at))

    def _ids(self, texts: list[str]) -> Iterator[array[int]]:
        """The token ids of each text. Parts that occur more than once are tokenised once."""
        pieces = [[piece for piece in self.cuts.split(text) if piece] for text in texts]
        counts = Counter(chain.from_iterable(pieces))
        new = [piece for piece in counts if piece not in self.known]
        found = self.tokenizer(new, add_special_tokens=False, return_attention_mask=False).input_ids if new else []
        ids = self.known | {piece: array("i", some) for piece, some in zip(new, found, strict=True)}
        # what all dialogues share (a system prompt) is kept for the next ones, what one of them says is not
        self.known = {piece: ids[piece] for piece, count in counts.items() if count > 1 or piece in self.known}
        return (reduce(iadd, map(ids.__getitem__, parts), array("i")) for parts in pieces)


def _cuts(fmt: ChatFormat, tokenizer: Any) -> re.Pattern[str]:
    """Matches before every special token of the format that a text can be cut before without a change to its ids.

    A tokenizer finds such tokens first, in the text as it is, and looks at what stands between them piece by piece
    (https://docs.rs/tokenizers, AddedVocabulary). So a text may be cut before one that takes no white space from its
    left, asks for no word boundary, and whose beginning is never taken for a part of another one. One that is written
    in Python does so in its own way, and its texts aren't cut.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return re.compile("(?!)")
    added = {str(token): token for token in tokenizer.added_tokens_decoder.values()}
    written = "".join(part for part in fmt.to_json().values() if isinstance(part, str))
    safe = [
        text
        for text, token in added.items()
        if text in written and not (token.normalized or token.lstrip or token.single_word or _is_met(text, added))
    ]
    return re.compile("|".join(f"(?={re.escape(text)})" for text in safe) or "(?!)")


def _is_met(text: str, others: Iterable[str]) -> bool:
    """Whether an occurrence of another text can hold the beginning of this one, not at its own beginning."""
    beginnings = [text[:length] for length in range(1, len(text))]
    return any(text in other[1:] or other[1:].endswith(tuple(beginnings)) for other in others)

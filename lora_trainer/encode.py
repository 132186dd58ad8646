"""Dialogues -> token ids: one sequence for each assistant turn, prompt as served, answer and end of turn supervised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from lora_trainer.chat_format import ChatFormat
from lora_trainer.dataset import Dialogue, Finding
from lora_trainer.errors import BaseModelError

_CHUNK = 1000
"""Dialogues tokenised at a time; bounds the memory that texts and lists of ids take."""
_VERSION = 1


@dataclass(frozen=True)
class EncodedSequence:
    """One assistant turn with everything before it."""

    prompt_ids: list[int]
    """The prompt as the server builds it, BOS included where the tokenizer adds one."""
    answer_ids: list[int]
    """The answer and the end-of-turn token: these, and only these, are learnt."""

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True)
class EncodedDialogue:
    """A dialogue's sequences, one for each assistant turn."""

    sequences: tuple[EncodedSequence, ...]

    @property
    def supervised_tokens(self) -> int:
        """Tokens that the loss is taken over."""
        return sum(len(sequence.answer_ids) for sequence in self.sequences)


class EncodedDialogues(Sequence[EncodedDialogue]):
    """All encoded dialogues, held in Arrow memory by `datasets` (some 4 bytes a token), made when asked for."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> EncodedDialogue: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedDialogue]: ...
    def __getitem__(self, index: int | slice) -> EncodedDialogue | list[EncodedDialogue]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self._rows[index]
        pairs = zip(row["prompts"], row["answers"], strict=True)
        return EncodedDialogue(tuple(EncodedSequence(prompt, answer) for prompt, answer in pairs))

    def counts(self) -> tuple[int, int]:
        """Sequences and supervised tokens of all dialogues."""
        sequences = supervised = 0
        for answers in self._rows.with_format("arrow").iter(_CHUNK):
            turns = answers["answers"].combine_chunks().flatten()
            sequences += len(turns)
            supervised += len(turns.flatten())
        return sequences, supervised


def encode(
    dialogues: Sequence[Dialogue], fmt: ChatFormat, tokenizer: Any, max_length: int, *, cache: Path | None = None
) -> tuple[EncodedDialogues, list[Finding]]:
    """Tokenise dialogues; linear in their number.

    Returns the dialogues that fit, in order, and a fault for each that doesn't: longer than `max_length` tokens
    (nothing is ever cut), or with the end-of-turn token's text inside a message. `cache`: a folder where the result
    is kept and found again as long as dialogues, format, tokenizer and length are the same.
    Raises BaseModelError where the end-of-turn text isn't one token.
    """
    import datasets

    end = tokenizer(fmt.end_of_turn, add_special_tokens=False).input_ids
    if len(end) != 1:
        raise BaseModelError("error.base_model.end_of_turn", text=fmt.end_of_turn, tokens=len(end))
    kept = cache / _key(dialogues, fmt, tokenizer, max_length) if cache else None
    if kept and (kept / "findings.json").is_file():
        findings = [Finding(**finding) for finding in json.loads((kept / "findings.json").read_text(encoding="utf-8"))]
        return EncodedDialogues(datasets.load_from_disk(str(kept))), findings

    encoder = _Encoder(fmt, tokenizer, end[0])
    findings = []

    def rows() -> Iterator[dict[str, Any]]:
        for start in range(0, len(dialogues), _CHUNK):
            chunk = dialogues[start : start + _CHUNK]
            for dialogue, sequences in zip(chunk, encoder.encode(chunk), strict=True):
                fault = _fault(dialogue, sequences, fmt, max_length)
                if fault:
                    findings.append(fault)
                else:
                    prompts, answers = zip(*((s.prompt_ids, s.answer_ids) for s in sequences), strict=True)
                    yield {"prompts": prompts, "answers": answers}

    table = _table(rows())
    if kept and len(table):
        table.save_to_disk(str(kept))
        # written last: where it stands, the rest is whole
        listed = json.dumps([vars(finding) for finding in findings], ensure_ascii=False)
        (kept / "findings.json").write_text(listed, encoding="utf-8")
    return EncodedDialogues(table), findings


def _table(rows: Iterator[dict[str, Any]]) -> Any:
    import datasets
    import pyarrow  # type: ignore[import-untyped, unused-ignore]

    ids = pyarrow.list_(pyarrow.list_(pyarrow.int32()))
    schema = pyarrow.schema([("prompts", ids), ("answers", ids)])
    batches, batch = [], []
    for row in rows:
        batch.append(row)
        if len(batch) == _CHUNK:
            batches.append(pyarrow.RecordBatch.from_pylist(batch, schema=schema))
            batch = []
    batches.append(pyarrow.RecordBatch.from_pylist(batch, schema=schema))
    return datasets.Dataset(pyarrow.Table.from_batches(batches, schema=schema))


def _fault(dialogue: Dialogue, sequences: list[EncodedSequence], fmt: ChatFormat, max_length: int) -> Finding | None:
    tokens = max(map(len, sequences))
    if tokens > max_length:
        length = {"tokens": tokens, "max_length": max_length}
        return Finding("fault", dialogue.file, dialogue.line, "data.fault.too_long", length)
    if any(fmt.end_of_turn in message["content"] for message in dialogue.messages):
        return Finding("fault", dialogue.file, dialogue.line, "data.fault.end_of_turn", {"token": fmt.end_of_turn})
    return None


class _Encoder:
    def __init__(self, fmt: ChatFormat, tokenizer: Any, end_id: int) -> None:
        self.fmt, self.tokenizer, self.end_id = fmt, tokenizer, end_id
        self.bos = [tokenizer.bos_token_id] if fmt.tokenizer_adds_bos else []
        # A tokenizer that puts a space before every text would put one before the answer too; where the model
        # itself would not write it, the answer is tokenised behind the generation prompt.
        behind = self._ids([fmt.generation_prompt, fmt.generation_prompt + "a", "a"])
        differs = behind[1] != behind[0] + behind[2] and behind[1][: len(behind[0])] == behind[0]
        self.lead, self.lead_tokens = (fmt.generation_prompt, len(behind[0])) if differs else ("", 0)

    def encode(self, dialogues: Sequence[Dialogue]) -> Iterator[list[EncodedSequence]]:
        """The sequences of each dialogue."""
        turns = [
            [i for i, message in enumerate(dialogue.messages) if message["role"] == "assistant"]
            for dialogue in dialogues
        ]
        prompts = [
            self.fmt.render(dialogue.messages[:i]) for dialogue, at in zip(dialogues, turns, strict=True) for i in at
        ]
        answers = [
            self.lead + dialogue.messages[i]["content"]
            for dialogue, at in zip(dialogues, turns, strict=True)
            for i in at
        ]
        prompt_ids, answer_ids = iter(self._ids(prompts)), iter(self._ids(answers))
        for at in turns:
            yield [
                EncodedSequence(self.bos + next(prompt_ids), [*next(answer_ids)[self.lead_tokens :], self.end_id])
                for _ in at
            ]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False).input_ids
        return ids


def _key(dialogues: Sequence[Dialogue], fmt: ChatFormat, tokenizer: Any, max_length: int) -> str:
    digest = hashlib.sha256()
    parts: list[Any] = [_VERSION, max_length, fmt.to_json(), tokenizer.backend_tokenizer.to_str()]
    digest.update(json.dumps(parts, ensure_ascii=False).encode())
    for dialogue in dialogues:
        place = [dialogue.file, dialogue.line, dialogue.messages]
        digest.update(json.dumps(place, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]

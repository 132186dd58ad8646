"""Dialogues -> token ids: one sequence for each answer that is learnt, prompt as served, answer and end supervised."""

from __future__ import annotations

import hashlib
import json
import mmap
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, overload

from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.control_tokens import ControlTokens
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.data.encoder import Encoder, Pair
from lora_trainer.data.findings import Finding
from lora_trainer.errors import BaseModelError

_CHUNK = 1000
"""Dialogues tokenised at a time; bounds the memory that texts and lists of ids take."""
_VERSION = 4


@dataclass(frozen=True)
class EncodedSequence:
    """One answer that is learnt, with everything before it."""

    prompt_ids: list[int]
    """The prompt as the server builds it, BOS included where the tokenizer adds one."""
    completion_ids: list[int]
    """The answer and the end-of-turn token: these, and only these, are learnt."""

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True)
class EncodedDialogue:
    """A dialogue's sequences, one for each answer that is learnt."""

    sequences: tuple[EncodedSequence, ...]

    @property
    def supervised_tokens(self) -> int:
        """Tokens that the loss is taken over."""
        return sum(len(sequence.completion_ids) for sequence in self.sequences)


class EncodedDialogues(Sequence[EncodedDialogue]):
    """All encoded dialogues, in a mapped file (some 4 bytes a token) and made when asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        import datasets
        import pyarrow  # type: ignore[import-untyped, unused-ignore]

        self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        table = pyarrow.ipc.open_file(pyarrow.py_buffer(self._file)).read_all()
        # left to itself, datasets makes a fingerprint of a pickled copy of all of it
        self._rows = datasets.Dataset(table, fingerprint="encoded")

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
        self._forget()
        pairs = zip(row["prompts"], row["answers"], strict=True)
        return EncodedDialogue(tuple(EncodedSequence(prompt, answer) for prompt, answer in pairs))

    def counts(self) -> tuple[int, int]:
        """Sequences and supervised tokens of all dialogues."""
        sequences = supervised = 0
        for answers in self._rows.with_format("arrow").iter(_CHUNK):
            turns = answers["answers"].combine_chunks().flatten()
            sequences += len(turns)
            supervised += len(turns.flatten())
            self._forget()
        return sequences, supervised

    def most_tokens(self) -> tuple[int, int]:
        """Tokens of the longest sequence, and of the longest dialogue's sequences together."""
        import numpy as np
        import pyarrow.compute as compute  # type: ignore[import-untyped, unused-ignore]

        longest = together = 0
        for rows in self._rows.with_format("arrow").iter(_CHUNK):
            prompts, answers = (rows[name].combine_chunks() for name in ("prompts", "answers"))
            sizes = compute.add(*(compute.list_value_length(part.flatten()) for part in (prompts, answers))).to_numpy()
            longest = max(longest, int(sizes.max()))
            together = max(together, int(np.bincount(compute.list_parent_indices(prompts).to_numpy(), sizes).max()))
            self._forget()
        return longest, together

    def _forget(self) -> None:
        """Give back the pages that were read: else all of the file comes to count as this process' memory."""
        if sys.platform != "win32":
            self._file.madvise(mmap.MADV_DONTNEED)


def encoder_for(fmt: ChatFormat, tokenizer: Any) -> Encoder:
    """The encoder of a base model; raises BaseModelError where the end-of-turn text isn't one token."""
    end = tokenizer(fmt.end_of_turn, add_special_tokens=False).input_ids
    if len(end) != 1:
        raise BaseModelError("error.base_model.end_of_turn", text=fmt.end_of_turn, tokens=len(end))
    return Encoder(fmt, tokenizer, end[0])


def longest(sequences: Sequence[Pair]) -> int:
    """Tokens of the longest of a dialogue's sequences, which is what has to fit; 0 where none is learnt."""
    return max((len(prompt) + len(answer) for prompt, answer in sequences), default=0)


def encode(
    dialogues: Sequence[Dialogue], fmt: ChatFormat, tokenizer: Any, max_length: int, *, cache: Path | None = None
) -> tuple[EncodedDialogues, list[Finding]]:
    """Tokenise dialogues; linear in their number.

    Returns the dialogues that fit, in order, and a fault for each that doesn't: longer than `max_length` tokens
    (nothing is ever cut), or with a control token's text inside a message. In each at least one answer is learnt.
    `cache`: a folder where the result is kept and found again as long as dialogues, format, tokenizer and length are
    the same.
    Raises BaseModelError where the end-of-turn text isn't one token.
    """
    encoder = encoder_for(fmt, tokenizer)
    kept = cache / _key(dialogues, fmt, tokenizer, max_length) if cache else None
    if kept and (kept / "findings.json").is_file():
        findings = [Finding(**finding) for finding in json.loads((kept / "findings.json").read_text(encoding="utf-8"))]
        with (kept / "rows.arrow").open("rb") as written:
            return EncodedDialogues(written), findings

    control, findings = ControlTokens(tokenizer), []

    def fitting(chunk: Sequence[Dialogue]) -> Iterator[list[Pair]]:
        for dialogue, sequences in zip(chunk, encoder.encode(chunk), strict=True):
            fault = _fault(dialogue, sequences, fmt, control, max_length)
            if fault:
                key, values = fault
                findings.append(Finding("fault", dialogue.file, dialogue.line, key, values, dialogue.unit))
            else:
                yield sequences

    # without a name: the system takes its pages back when memory is short, and the file itself at the end
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
    with (kept / "rows.arrow").open("wb+") if kept else TemporaryFile() as file:
        _write((fitting(dialogues[start : start + _CHUNK]) for start in range(0, len(dialogues), _CHUNK)), file)
        encoded = EncodedDialogues(file)
    if kept:
        # written last: where it stands, the rest is whole
        listed = json.dumps([vars(finding) for finding in findings], ensure_ascii=False)
        (kept / "findings.json").write_text(listed, encoding="utf-8")
    return encoded, findings


def _write(chunks: Iterator[Iterator[list[Pair]]], file: IO[bytes]) -> None:
    import pyarrow

    def flat(numbers: array[int]) -> Any:
        return pyarrow.Array.from_buffers(pyarrow.int32(), len(numbers), [None, pyarrow.py_buffer(numbers)])

    ids = pyarrow.list_(pyarrow.list_(pyarrow.int32()))
    schema = pyarrow.schema([("prompts", ids), ("answers", ids)])
    made = pyarrow.ListArray.from_arrays
    with pyarrow.ipc.new_file(file, schema) as writer:
        for chunk in chunks:
            dialogues = array("i", [0])
            columns = [(array("i"), array("i", [0])) for _ in schema]  # token ids, and where each sequence's end
            for sequences in chunk:
                for pair in sequences:
                    for part, (values, ends) in zip(pair, columns, strict=True):
                        values += part
                        ends.append(len(values))
                dialogues.append(dialogues[-1] + len(sequences))
            turns = [made(flat(dialogues), made(flat(ends), flat(values))) for values, ends in columns]
            writer.write_batch(pyarrow.RecordBatch.from_arrays(turns, schema=schema))
    file.flush()


def _fault(
    dialogue: Dialogue, sequences: list[Pair], fmt: ChatFormat, control: ControlTokens, max_length: int
) -> tuple[str, dict[str, Any]] | None:
    tokens = longest(sequences)
    if tokens > max_length:
        return "data.fault.too_long", {"tokens": tokens, "max_length": max_length}
    texts = [*(message["content"] for message in dialogue.messages), *dialogue.thoughts]
    if any(fmt.end_of_turn in text for text in texts):
        return "data.fault.end_of_turn", {"token": fmt.end_of_turn}
    for text in texts:
        if token := control.inside(text):
            return "data.fault.control_token", {"token": token}
    return None


def _key(dialogues: Sequence[Dialogue], fmt: ChatFormat, tokenizer: Any, max_length: int) -> str:
    digest = hashlib.sha256()
    fast = getattr(tokenizer, "backend_tokenizer", None)
    known = fast.to_str() if fast else [type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.init_kwargs]
    parts: list[Any] = [_VERSION, max_length, fmt.to_json(), known]
    digest.update(json.dumps(parts, ensure_ascii=False, default=str).encode())
    for dialogue in dialogues:
        place = [dialogue.file, dialogue.line, dialogue.messages, dialogue.unlearnt, dialogue.thoughts]
        digest.update(json.dumps(place, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]

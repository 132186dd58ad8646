"""Proofs: conversations of the training data whose prompt and token count the published model must reproduce."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_trainer.chat_format import ChatFormat, split_system
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.errors import ConversionError
from ollama_export.greedy import Greedy, from_record
from ollama_export.proof import Proof
from pipeline.run.history import Run

MOST_PROOFS = 3
TOKEN_SAMPLE = 256
"""Dialogues whose token ids are held against llama.cpp's."""


def choose_proofs(
    dialogues: Sequence[Dialogue], system: str | None, chat_format: ChatFormat, tokenizer: Any
) -> tuple[Proof, ...]:
    """A dialogue with the fewest turns, one with the most and one with a system prompt of its own.

    A dialogue under the run's own system prompt is asked without it: the Modelfile's SYSTEM must bring it.
    """
    by_turns = sorted(dialogues, key=lambda dialogue: len(dialogue.messages))
    own_system = next((dialogue for dialogue in dialogues if dialogue.system not in (None, system)), None)
    chosen = {id(d): d for d in (*by_turns[:1], *by_turns[-1:], own_system) if d is not None}
    proofs = []
    for dialogue in list(chosen.values())[:MOST_PROOFS]:
        messages = list(dialogue.messages[:-1])
        found, turns = split_system(messages)
        prompt = chat_format.render(messages)
        sent = turns if found == (system or "") else messages
        proofs.append(Proof(tuple(sent), prompt, len(_ids(prompt, chat_format, tokenizer))))
    return tuple(proofs)


def check_tokens(engine: Any, dialogues: Sequence[Dialogue], chat_format: ChatFormat, tokenizer: Any) -> int:
    """Hold the ids of whole dialogues against llama.cpp's (`engine` has the same tokenizer in a GGUF); how many.

    Raises ConversionError at the first difference.
    """
    sample = dialogues[:: max(1, len(dialogues) // TOKEN_SAMPLE)]
    count = 0
    for text in _texts(sample, chat_format):
        ours, theirs = _ids(text, chat_format, tokenizer), engine.tokenize(text, add_special=True)
        if ours != theirs:
            at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), 0)
            around = slice(max(0, at - 3), at + 5)
            values = {"ours": ours[around], "theirs": theirs[around], "text": text}
            raise ConversionError("error.tokens.differ", **values)
        count += 1
    return count


def _texts(dialogues: Sequence[Dialogue], chat_format: ChatFormat) -> Iterator[str]:
    for dialogue in dialogues:
        yield chat_format.render(dialogue.messages[:-1]) + dialogue.messages[-1]["content"] + chat_format.end_of_turn


def _ids(text: str, chat_format: ChatFormat, tokenizer: Any) -> list[int]:
    bos = [tokenizer.bos_token_id] if chat_format.tokenizer_adds_bos else []
    return [*bos, *tokenizer(text, add_special_tokens=False).input_ids]


def proofs_of(run: Run, before: Sequence[Mapping[str, str]] = (), system: str | None = None) -> tuple[Proof, ...]:
    """The proofs in a run's record, each conversation behind the turns that stand before every one (MESSAGE).

    `system`: the system prompt in the model where that isn't the one it was trained with; "" is none at all.
    """
    proofs = tuple(Proof(tuple(p["messages"]), p["prompt"], p["tokens"]) for p in run.record["proofs"])
    if not before and system is None:
        return proofs
    chat_format = ChatFormat.from_json(run.record["chat_format"])
    said = run.record["system"] if system is None else system
    return tuple(_behind(proof, before, chat_format, said) for proof in proofs)


def heard_of(run: Run, level: str | None = None, *, adapter: str | None = None) -> tuple[Greedy, ...]:
    """How the run's model goes on with the prompts of its proofs, as the type of its last GGUF, or as the `level` that
    Ollama tells; empty where llama.cpp never said.

    `adapter`: the folder of another one of the run's adapters than the one that was exported last.
    """
    made = run.record.get("gguf", {})
    if adapter not in (None, made.get("adapter", "adapter")):
        made = made.get("others", {}).get(adapter, {})
    heard = made.get("greedy", {})
    told = {file_type.upper(): file_type for file_type in heard} | {"": made.get("file_type"), "UNKNOWN": "f32"}
    return tuple(from_record(one) for one in heard.get(told.get((level or "").upper()), []))


def behind(
    before: Sequence[Mapping[str, str]], proofs: tuple[Proof, ...], chat_format: ChatFormat, system: str | None
) -> tuple[Proof, ...]:
    """The proofs as they are asked of a model with turns that stand before every conversation (MESSAGE)."""
    return tuple(_behind(proof, before, chat_format, system) for proof in proofs) if before else proofs


def _behind(proof: Proof, before: Sequence[Mapping[str, str]], chat_format: ChatFormat, system: str | None) -> Proof:
    own, turns = split_system([dict(message) for message in proof.messages])
    prompt = own or system
    start = [{"role": "system", "content": prompt}] if prompt else []
    rendered = chat_format.render([*start, *map(dict, before), *turns])
    # what it is in tokens isn't known here; that of the conversation alone is proven by llama.cpp
    return Proof(proof.messages, rendered, None)

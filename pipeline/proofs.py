"""Proofs: conversations of the training data whose prompt and token count the published model must reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_trainer.chat_format import ChatFormat, split_system
from ollama_export.proof import Proof

if TYPE_CHECKING:
    from lora_trainer.encode import EncodedDialogue

MOST_PROOFS = 3


def choose_proofs(rows: Sequence[EncodedDialogue], system: str | None, chat_format: ChatFormat) -> tuple[Proof, ...]:
    """The first dialogue, the first with the most turns and the first with a system prompt of its own.

    A dialogue under the run's own system prompt is asked without it: the Modelfile's SYSTEM must bring it.
    """
    by_turns = max(rows, key=lambda row: len(row.sequences), default=None)
    own_system = next((row for row in rows if row.dialogue.system not in (None, system)), None)
    chosen = {id(row): row for row in (*rows[:1], by_turns, own_system) if row is not None}
    proofs = []
    for row in list(chosen.values())[:MOST_PROOFS]:
        messages = list(row.dialogue.messages[:-1])
        found, turns = split_system(messages)
        sent = turns if found == (system or "") else messages
        proofs.append(Proof(tuple(sent), chat_format.render(messages), len(row.sequences[-1].prompt_ids)))
    return tuple(proofs)

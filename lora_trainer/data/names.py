"""What people's files call the same things, as tables: roles, the keys of a turn, of a question and of its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ROLES: dict[str, str] = {
    name: role
    for role, names in {
        # OpenAI's chat format; ShareGPT's dialects as FastChat and axolotl read them; Gemini's "model"
        "system": ("system", "developer", "系统", "系統"),
        "user": ("user", "human", "用户", "用戶"),
        "assistant": ("assistant", "gpt", "chatgpt", "bot", "model", "助手"),
        # what a program said, and LLaMA-Factory's names for the question to it and its answer
        "tool": ("tool", "function", "function_call", "observation"),
    }.items()
    for name in names
}
"""A turn's role as it is written, in small letters -> system, user, assistant or tool."""
ROLE_KEYS = ("role", "from")
CONTENT_KEYS = ("content", "value", "text")
CALL_KEYS = ("tool_calls", "function_call")
"""Keys of an answer that asks a program for something."""
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of an answer that hold what was thought before it."""
SYSTEM_KEYS = ("system", "系统", "系統")
TURN_LISTS = ("messages", "conversations", "conversation")
"""Keys of a row that hold all its turns."""


@dataclass(frozen=True)
class Pair:
    """Keys of a row that is one question and its answer."""

    question: str
    answers: tuple[str, ...]
    adds: str | None = None
    """What follows the question in the same turn."""
    history: str | None = None
    """Pairs of question and answer before it."""


PAIRS = (
    # Alpaca, with LLaMA-Factory's history
    Pair("instruction", ("output", "response"), adds="input", history="history"),
    Pair("prompt", ("completion", "response")),
    Pair("question", ("answer",)),
    Pair("问", ("答",)),
    Pair("問", ("答",)),
    Pair("问题", ("回答",)),
    Pair("用户", ("助手",)),
    Pair("用戶", ("助手",)),
    Pair("user", ("assistant",)),
    Pair("human", ("assistant", "gpt")),
    Pair("input", ("output",)),
)
KEYS = frozenset(
    key
    for pair in PAIRS
    for key in (pair.question, *pair.answers, pair.adds, pair.history, *SYSTEM_KEYS, *TURN_LISTS, *THOUGHT_KEYS)
    if key
) | {"style", "category"}
"""Every key of a row that means something."""


def are_known(keys: Iterable[str]) -> bool:
    """Whether a row with these keys is a dialogue: it has all turns under one, or a question and an answer."""
    there = set(keys)
    return any(key in there for key in TURN_LISTS) or any(
        pair.question in there and not there.isdisjoint(pair.answers) for pair in PAIRS
    )

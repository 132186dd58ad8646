"""Repairs of who speaks when: roles in other words, empty turns, one side twice, a dialogue that isn't answered."""

from __future__ import annotations

import itertools
from difflib import get_close_matches
from typing import Any

from data_desk.repairs.contents import content_key, role_of, with_turns
from lora_trainer.data.names import CALL_KEYS, ROLE_KEYS, THOUGHT_KEYS
from lora_trainer.data.written import trim

OTHER_ROLES = {
    name: role
    for role, names in {
        "system": ("sys", "system_prompt", "系统提示", "系统提示词", "系統提示詞", "设定", "設定", "人设"),
        "user": (
            "人类", "人類", "使用者", "玩家", "提问者", "提问", "问", "問", "客户", "顾客",
            "player", "person", "customer", "client", "prompter", "question", "q",
        ),
        "assistant": (
            "ai", "助理", "角色", "机器人", "機器人", "模型", "回答者", "回答", "答", "客服",
            "character", "char", "npc", "chatbot", "robot", "llm", "answer", "reply", "response", "a",
        ),
    }.items()
    for name in names
}  # fmt: skip
"""What a training doesn't read as a role, in small letters -> the role that it can only be."""
_SURE = 0.75
"""How near a misspelt role has to be (difflib's ratio)."""


def with_known_roles(row: dict[str, Any]) -> dict[str, Any]:
    """Roles in other words, or misspelt, by their names."""
    return with_turns(row, lambda turns: [_with_known_role(turn) for turn in turns])


def _with_known_role(turn: dict[str, Any]) -> dict[str, Any]:
    key = next((key for key in ROLE_KEYS if isinstance(turn.get(key), str)), None)
    if key is None or role_of(turn) is not None:
        return turn
    said = trim(turn[key]).strip(":：").casefold()
    near = get_close_matches(said, ("system", "user", "assistant"), n=1, cutoff=_SURE)
    role = OTHER_ROLES.get(said) or next(iter(near), None)
    return {**turn, key: role} if role else turn


def without_empty_turns(row: dict[str, Any]) -> dict[str, Any]:
    """No turn in which nobody says anything; one that asks a program for something stays."""
    return with_turns(row, lambda turns: [turn for turn in turns if not _is_empty(turn)])


def _is_empty(turn: dict[str, Any]) -> bool:
    # an empty system prompt is read as none
    if role_of(turn) not in ("user", "assistant") or any(turn.get(key) for key in (*CALL_KEYS, *THOUGHT_KEYS)):
        return False
    key = content_key(turn)
    return key is not None and (turn[key] is None or (isinstance(turn[key], str) and not trim(turn[key])))


def with_joined_turns(row: dict[str, Any]) -> dict[str, Any]:
    """Two turns of one side, one behind the other, as one, where nothing else is said of them."""
    return with_turns(row, _joined)


def _joined(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    joined: list[dict[str, Any]] = []
    for turn in turns:
        before = joined[-1] if joined else None
        key = content_key(turn)
        if before is not None and key is not None and _can_join(before, turn, key):
            joined[-1] = {**before, key: f"{trim(before[key])}\n{trim(turn[key])}"}
        else:
            joined.append(turn)
    return joined


def _can_join(before: dict[str, Any], turn: dict[str, Any], key: str) -> bool:
    if role_of(turn) not in ("system", "user", "assistant") or role_of(before) != role_of(turn):
        return False
    texts = before.get(key), turn[key]
    if not all(isinstance(text, str) and trim(text) for text in texts):
        return False
    # a weight, a name or a source of one of them is not the other's
    left, right = ({k: v for k, v in each.items() if k not in (*ROLE_KEYS, key)} for each in (before, turn))
    return left == right and not any(left.get(name) for name in (*CALL_KEYS, *THOUGHT_KEYS))


def ended_by_an_answer(row: dict[str, Any]) -> dict[str, Any]:
    """No last turn of the user's that nobody answers."""

    def change(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
        unanswered = list(itertools.takewhile(lambda turn: role_of(turn) == "user", reversed(turns)))
        return turns[: len(turns) - len(unanswered)]

    return with_turns(row, change)

"""An answer of a model in Ollama, also one that the server broke off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ollama_export.greedy import Greedy, Token, in_tokens, tokens_of
from ollama_export.server.transport import Refused

_COUNTS = ("prompt_eval_count", "eval_count")
_REPEATS = "token repeat limit reached"
"""Ollama since 0.34.1; before, such an answer just ended."""
_NO_TEXT = "does not match the expected"
"""llama.cpp's server, of bytes that are no UTF-8."""


@dataclass(frozen=True)
class Answer:
    """What a model said; counts in tokens, the prompt's with BOS, None where the server didn't tell."""

    text: str
    stopped: bool
    """By itself, rather than by a limit or because the server broke it off."""
    prompt_tokens: int | None
    tokens: int | None
    repeats: bool = False
    """It was broken off since it only repeated itself."""
    thought: str = ""
    """What it thought before, where the server tells that apart."""


def answer_of(reply: Mapping[str, Any], text: str) -> Answer:
    """The last object of /api/chat or /api/generate, and all that was said."""
    stopped = bool(reply.get("done")) and reply.get("done_reason", "stop") == "stop"
    prompt_tokens, tokens = (int(reply[name]) or None if name in reply else None for name in _COUNTS)
    told = reply.get("message") or reply
    return Answer(text, stopped, prompt_tokens, tokens, thought=str(told.get("thinking") or ""))


GREEDILY = {"temperature": 0, "repeat_penalty": 1.0, "presence_penalty": 0, "frequency_penalty": 0, "stop": []}
"""Options of a greedy answer, whatever a model's own PARAMETERs say; its end of turn ends it all the same."""


def said_greedily(reply: Mapping[str, Any], known: Greedy) -> Greedy:
    """What /api/generate answered to the prompt of `known`, asked for log-probabilities.

    Ollama tells them since 0.12.11, but not of the token that ends an answer.
    """
    text, ended = str(reply.get("response", "")), bool(reply.get("done")) and reply.get("done_reason") == "stop"
    prompt_tokens = answer_of(reply, text).prompt_tokens
    if told := reply.get("logprobs"):
        return Greedy(known.prompt, (*tokens_of(told), *([Token(None)] if ended else [])), prompt_tokens)
    return Greedy(known.prompt, in_tokens(known, text, ended=ended), prompt_tokens)


def broken_off(refused: Refused) -> Answer:
    """The answer that an error means: the model was at work, and what it said was no answer. Raises all others."""
    message = refused.values["message"].lower()
    repeats = _REPEATS in message
    if not repeats and _NO_TEXT not in message:
        raise refused
    return Answer("", False, None, None, repeats=repeats)

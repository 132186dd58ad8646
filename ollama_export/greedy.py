"""What a model says where it always takes the likeliest token, and how likely each was.

By it the weights are known again in whatever form a server keeps them, and so is all that a GGUF says beside them (how
positions are turned, how norms are taken), which no sum over the weights shows. Another quantization has other numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOKENS = 16
"""Of each prompt: enough to hear a model by, and a moment's work."""
TOLERANCE = 0.5
"""Of a token's log-probability, in nats. Another processor, attention in half precision and a cache of 8 bits moved
that of SmolLM2-135M in 4 bits, the noisiest of models, by 0.16 at most, and turned choices 0.35 apart."""


@dataclass(frozen=True)
class Token:
    """One that was said. Log-probabilities in nats, over the whole vocabulary, at temperature 1."""

    text: str | None
    """None where the answer ends."""
    logprob: float | None = None
    """None where nobody told."""
    gap: float | None = None
    """How much likelier it was than the next likeliest; None where nobody told, or the text is of several tokens, of
    which those that end inside a character have none."""


@dataclass(frozen=True)
class Greedy:
    """A prompt, and how a model goes on."""

    prompt: str
    tokens: tuple[Token, ...]
    prompt_tokens: int | None = None
    """None where nobody told."""

    def to_record(self) -> dict[str, Any]:
        """Plain JSON values: each token as a list of its three."""
        tokens = [[token.text, _short(token.logprob), _short(token.gap)] for token in self.tokens]
        return {"prompt": self.prompt, "prompt_tokens": self.prompt_tokens, "tokens": tokens}

    @property
    def tells_probabilities(self) -> bool:
        """Whether it says more than what was said."""
        return any(token.logprob is not None for token in self.tokens)


def from_record(record: Mapping[str, Any]) -> Greedy:
    """What `to_record` made."""
    return Greedy(record["prompt"], tuple(Token(*token) for token in record["tokens"]), record["prompt_tokens"])


@dataclass(frozen=True)
class Parting:
    """Where two models part: the place (from 1) and what each says there."""

    at: int
    known: Token
    found: Token


def parting(known: Greedy, found: Greedy) -> Parting | None:
    """Where `found` shows another model than `known`; None where it doesn't.

    A choice that was a near thing may fall the other way: what follows says nothing then. What wasn't told isn't held,
    and neither is what comes from a token on that is no text by itself: a server tells whole characters only.
    """
    for at, (one, other) in enumerate(zip(known.tokens, found.tokens, strict=False), 1):
        if one.text is not None and (not one.text or "\ufffd" in one.text):
            return None
        if one.text != other.text:
            return Parting(at, one, other) if one.gap is not None and one.gap > TOLERANCE else None
        # two of them make a gap
        if _differ(one.logprob, other.logprob, TOLERANCE) or _differ(one.gap, other.gap, 2 * TOLERANCE):
            return Parting(at, one, other)
    return None


def in_tokens(known: Greedy, text: str, *, ended: bool) -> tuple[Token, ...]:
    """A `text` that was said to the prompt of `known`, by those tokens as far as it goes along with them."""
    tokens: list[Token] = []
    for token in known.tokens:
        if token.text is None or not text.startswith(token.text):
            break
        tokens.append(Token(token.text))
        text = text[len(token.text) :]
    if text:
        return (*tokens, Token(text))
    return (*tokens, Token(None)) if ended else tuple(tokens)


def tokens_of(told: Sequence[Mapping[str, Any]]) -> tuple[Token, ...]:
    """Of what llama.cpp and Ollama tell alike: `token`, `logprob` and, likeliest first, `top_logprobs`."""
    return tuple(Token(str(one["token"]), one["logprob"], _gap(one)) for one in told)


def _gap(told: Mapping[str, Any]) -> float | None:
    others = sorted((float(other["logprob"]) for other in told.get("top_logprobs") or []), reverse=True)
    return others[0] - others[1] if len(others) > 1 else None


def _differ(one: float | None, other: float | None, most: float) -> bool:
    return one is not None and other is not None and abs(one - other) > most


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

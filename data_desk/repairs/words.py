"""Repairs of what is said: white space and invisible characters, thoughts, texts of control tokens."""

from __future__ import annotations

import re
from typing import Any

from data_desk.repairs.contents import with_words
from lora_trainer.data.written import trim

# NUL ends a C string, and half a surrogate pair is no character; the others are marks of editors and web pages.
# What joins letters or emoji (U+200C, U+200D) is seen, and stays.
_INVISIBLE = re.compile("[\0\u200b\u2060\ufeff\ud800-\udfff]")
_THOUGHT = re.compile(r"<think>(?:(?!<think>).)*?</think>", re.DOTALL)
_THOUGHT_OF_THE_PROMPT = re.compile(r"\A(?:(?!<think>).)*?</think>", re.DOTALL)
"""Of models whose prompt has opened the thought (DeepSeek-R1): its end alone stands in the answer."""
_ROLE = r"(?:system|user|assistant|model|tool)"
_OPENING = re.compile(
    # ChatML, Llama 3, Gemma and Phi, with the role that follows
    rf"<\|im_start\|>(?:{_ROLE}\n)?|<\|start_header_id\|>(?:{_ROLE}<\|end_header_id\|>\s*)?"
    rf"|<start_of_turn>(?:{_ROLE}\n)?|<\|(?:user|assistant|system)\|>\n?|<｜(?:User|Assistant)｜>"
)
_TOKENS = re.compile(
    rf"{_OPENING.pattern}|<\|(?:im_end|im_sep|endoftext|end_header_id|begin_of_text|end_of_text|eot_id|eom_id|end"
    r"|endofprompt|startoftext)\|>|<end_of_turn>|<bos>|<eos>|<｜(?:begin|end)▁of▁sentence｜>"
)
"""Texts of control tokens in the chat templates of the families that people train."""
_AT_THE_ENDS = re.compile(r"\A<s>|</s>\Z")
"""Llama 2's and Mistral's: inside a text they could be HTML."""


def without_invisible(row: dict[str, Any]) -> dict[str, Any]:
    """No blanks around a text, and in it no characters that nobody sees."""
    return with_words(row, lambda _, text: trim(_INVISIBLE.sub("", text)))


def without_thoughts(row: dict[str, Any]) -> dict[str, Any]:
    """Answers without what was thought before them."""

    def change(role: str, text: str) -> str:
        if role != "assistant" or "</think>" not in text:
            return text
        return trim(_THOUGHT_OF_THE_PROMPT.sub("", _until_none(_THOUGHT, text)))

    return with_words(row, change)


def without_control_tokens(row: dict[str, Any]) -> dict[str, Any]:
    """Texts without a model's own marks."""

    def change(_: str, text: str) -> str:
        if len(_OPENING.findall(text)) > 1:
            return text  # a whole dialogue: without its marks nobody knew who says what
        plain = _until_none(_AT_THE_ENDS, _until_none(_TOKENS, text))
        return text if plain == text else trim(plain)

    return with_words(row, change)


def has_control_tokens(text: str) -> bool:
    """Whether a model's own marks stand in a text."""
    return bool(_TOKENS.search(text) or _AT_THE_ENDS.search(text))


def _until_none(pattern: re.Pattern[str], text: str) -> str:
    """Where one goes, the two halves of another may meet."""
    while (shorter := pattern.sub("", text)) != text:
        text = shorter
    return text

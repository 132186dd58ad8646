"""The pre-tokenizers of llama.cpp: how each cuts text before any merge, by the name that a GGUF gives it.

One table for both directions: a tokenizer is built from a GGUF's name for it, and such a name is found for a
tokenizer.json. Source: llama.cpp's src/llama-vocab.cpp.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class PreTokenizer(NamedTuple):
    """One way of cutting text."""

    splits: tuple[str, ...]
    """Regular expressions that cut one after the other."""
    whole_words_first: bool = False
    """A piece that is a token is taken whole, whatever the merges say (`ignore_merges` there)."""
    adds_bos: bool = False
    """The BOS token stands before every prompt where the GGUF doesn't say so or otherwise."""
    steps: tuple[tuple[str | bool | None, ...], ...] = ()
    """How a tokenizer.json writes the same: type and fields of each step. Empty where none is recognised by it."""


def _written(splits: tuple[str, ...]) -> tuple[tuple[str | bool | None, ...], ...]:
    """The steps of a tokenizer.json that cut by `splits`, bytes as characters."""
    return (*(("Split", split, "Isolated", False) for split in splits), ("ByteLevel", False, False))


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|"
)
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",)
_LLAMA3 = (_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL,)
_QWEN2 = (_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL,)
_QWEN35 = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_SMOLLM = (r"\p{N}", *_GPT2)
_TEKKEN = (_CASED % ("", "") + r"\p{N}" + _CASED_TAIL,)
_GPT4O = (_CASED % (_CONTRACTIONS + "?", _CONTRACTIONS + "?") + r"\p{N}{1,3}" + _CASED_TAIL,)
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_MINICPM5 = (r"\p{N}{1,3}", _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+" + _TAIL)

PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    # those that are recognised in a tokenizer.json
    "qwen2": PreTokenizer(_QWEN2, steps=_written(_QWEN2)),
    "llama-bpe": PreTokenizer(_LLAMA3, True, True, steps=_written(_LLAMA3)),
    "smollm": PreTokenizer(_SMOLLM, steps=(("Digits", True), ("ByteLevel", False, True))),
    "gpt-2": PreTokenizer(_GPT2, steps=(("ByteLevel", False, True),)),
    **dict.fromkeys(
        ("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"), PreTokenizer(_LLAMA3, True, True)
    ),
    **dict.fromkeys(("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), PreTokenizer(_LLAMA3)),
    **dict.fromkeys(
        ("deepseek-r1-qwen", "kormo", "megrez", "stablelm2", "hunyuan", "solar-open"), PreTokenizer(_QWEN2)
    ),
    **dict.fromkeys(("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), PreTokenizer(_SMOLLM)),
    **dict.fromkeys(("phi-2", "olmo", "exaone4", "trillion", "granite-docling"), PreTokenizer(_GPT2)),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2", "minimax-m2"), PreTokenizer(_GPT4O)),
    **dict.fromkeys(("deepseek-v3", "hunyuan-dense", "joyai-llm"), PreTokenizer(_DEEPSEEK3)),
    "qwen35": PreTokenizer(_QWEN35),
    "tekken": PreTokenizer(_TEKKEN, True, True),
    "minicpm5": PreTokenizer(_MINICPM5, True),
}
"""`tokenizer.ggml.pre` -> how it cuts."""


def swallows_white_space(general_name: str) -> bool:
    """Whether llama.cpp lets special tokens swallow the white space behind them: where `general.name` says Phi-3."""
    name = general_name.lower()
    return "phi-3" in name or "phi3" in name


def neutral_name(name: str) -> str:
    """`name` without the words from which llama.cpp concludes how text is cut, whatever the user calls the model."""
    return re.sub("phi-?3|modern-bert|jina", "x", name, flags=re.IGNORECASE)

"""The tokenizer that a GGUF file carries, cutting text exactly as llama.cpp does with the same file.

transformers' own conversion knows only some of the pre-tokenizers (SmolLM's digits come out wrong), so this one is
built from the metadata alone; what is unknown is refused, never guessed.
"""

from __future__ import annotations

from typing import Any

from lora_trainer.errors import BaseModelError
from lora_trainer.models.gguf_header import GgufHeader

_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6

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

SPLITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0"), _LLAMA3),
    **dict.fromkeys(("lfm2", "dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), _LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "kormo", "megrez", "stablelm2", "hunyuan", "solar-open"), _QWEN2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), _SMOLLM),
    **dict.fromkeys(("gpt-2", "phi-2", "olmo", "exaone4", "trillion", "granite-docling"), _GPT2),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2", "minimax-m2"), _GPT4O),
    **dict.fromkeys(("deepseek-v3", "hunyuan-dense", "joyai-llm"), _DEEPSEEK3),
    "qwen35": _QWEN35,
    "tekken": _TEKKEN,
    "minicpm5": _MINICPM5,
}
"""`tokenizer.ggml.pre` -> the regular expressions that cut text one after the other (llama.cpp: llama-vocab.cpp)."""

_WHOLE_WORDS_FIRST = {*[name for name, split in SPLITS.items() if split is _LLAMA3], "tekken", "minicpm5"} - {
    "dbrx", "smaug-bpe", "glm4", "chatglm-bpe",
}  # fmt: skip
"""Where a piece that is a token is taken whole, whatever the merges say (`ignore_merges` there)."""


def build_tokenizer(header: GgufHeader) -> Any:
    """A PreTrainedTokenizerFast; raises BaseModelError for a kind of tokenizer that can't be built exactly."""
    from transformers import PreTrainedTokenizerFast

    metadata = header.metadata
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
    tokens: list[str] = metadata.get("tokenizer.ggml.tokens", [])
    if model == "gpt2" and pre in SPLITS:
        tokenizer = _byte_level(tokens, metadata["tokenizer.ggml.merges"], pre)
        adds_bos = pre in _WHOLE_WORDS_FIRST - {"minicpm5"}
    elif model == "llama":
        tokenizer = _sentencepiece(tokens, metadata)
        adds_bos = True
    else:
        raise BaseModelError("error.base_model.gguf_tokenizer", model=model, pre=pre)
    _add_tokens(tokenizer, tokens, metadata)
    named = {name: _token(tokens, metadata, key) for name, key in _SPECIAL.items()}
    if metadata.get("tokenizer.ggml.add_bos_token", adds_bos) and (bos := named["bos_token"]):
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokens.index(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=metadata.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
        **named,
    )


_SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def _token(tokens: list[str], metadata: dict[str, Any], key: str) -> str | None:
    index = metadata.get(f"tokenizer.ggml.{key}")
    return tokens[index] if index is not None and index < len(tokens) else None


def _byte_level(tokens: list[str], merges: list[str], pre: str) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=pre in _WHOLE_WORDS_FIRST))
    splits = [pre_tokenizers.Split(Regex(split), behavior="isolated") for split in SPLITS[pre]]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(tokens: list[str], metadata: dict[str, Any]) -> Any:
    """sentencepiece's BPE: of all neighbours, those are joined first whose piece has the best score."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores, types = metadata["tokenizer.ggml.scores"], metadata["tokenizer.ggml.token_type"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    texts = [i for i, kind in enumerate(types) if kind not in (_UNKNOWN, _CONTROL, _BYTE) and len(tokens[i]) > 1]
    merges = [
        (tokens[i][:cut], tokens[i][cut:])
        for i in sorted(texts, key=lambda i: -scores[i])
        for cut in range(1, len(tokens[i]))
        if tokens[i][:cut] in vocabulary and tokens[i][cut:] in vocabulary
    ]
    unknown = _token(tokens, metadata, "unknown_token_id") or tokens[types.index(_UNKNOWN)]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    space = [normalizers.Prepend("▁")] if metadata.get("tokenizer.ggml.add_space_prefix", True) else []
    tokenizer.normalizer = normalizers.Sequence([*space, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if space else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _add_tokens(tokenizer: Any, tokens: list[str], metadata: dict[str, Any]) -> None:
    """The tokens that are found whole in a text before anything else."""
    from tokenizers import AddedToken

    # llama.cpp gives Phi-3's turn tokens this attribute by the model's name
    name = str(metadata.get("general.name", "")).lower()
    phi3 = "phi-3" in name or "phi3" in name
    added = [
        AddedToken(
            token,
            normalized=False,
            special=kind != _USER_DEFINED,
            rstrip=phi3 and kind != _USER_DEFINED and token not in ("<unk>", "<s>", "<|endoftext|>"),
        )
        for token, kind in zip(tokens, metadata.get("tokenizer.ggml.token_type", []), strict=False)
        if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED)
    ]
    tokenizer.add_tokens(added)

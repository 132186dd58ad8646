"""The tokenizer that a GGUF file carries, cutting text exactly as llama.cpp does with the same file.

transformers' own conversion knows only some of the pre-tokenizers (SmolLM's digits come out wrong), so this one is
built from the metadata alone; what is unknown is refused, never guessed.
"""

from __future__ import annotations

from typing import Any

from file_formats.gguf import GgufHead
from file_formats.pre_tokenizers import PRE_TOKENIZERS, swallows_white_space
from lora_trainer.errors import BaseModelError

_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6


def build_tokenizer(head: GgufHead) -> Any:
    """A PreTrainedTokenizerFast; raises BaseModelError for a kind of tokenizer that can't be built exactly."""
    from transformers import PreTrainedTokenizerFast

    model, pre = head.get("tokenizer.ggml.model"), head.get("tokenizer.ggml.pre", "default")
    tokens: list[str] = head.get("tokenizer.ggml.tokens", [])
    if model == "gpt2" and pre in PRE_TOKENIZERS:
        tokenizer = _byte_level(tokens, head.get("tokenizer.ggml.merges", []), pre)
        adds_bos = PRE_TOKENIZERS[pre].adds_bos
    elif model == "llama":
        tokenizer = _sentencepiece(tokens, head)
        adds_bos = True
    else:
        raise BaseModelError("error.base_model.gguf_tokenizer", model=model, pre=pre)
    _add_tokens(tokenizer, tokens, head)
    named = {name: _token(tokens, head, key) for name, key in _SPECIAL.items()}
    if head.get("tokenizer.ggml.add_bos_token", adds_bos) and (bos := named["bos_token"]):
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokens.index(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=head.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
        **named,
    )


_SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def _token(tokens: list[str], head: GgufHead, key: str) -> str | None:
    index = head.get(f"tokenizer.ggml.{key}")
    return tokens[index] if index is not None and index < len(tokens) else None


def _byte_level(tokens: list[str], merges: list[str], pre: str) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    cuts = PRE_TOKENIZERS[pre]
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=cuts.whole_words_first))
    splits = [pre_tokenizers.Split(Regex(split), behavior="isolated") for split in cuts.splits]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(tokens: list[str], head: GgufHead) -> Any:
    """sentencepiece's BPE: of all neighbours, those are joined first whose piece has the best score."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores, types = head.get("tokenizer.ggml.scores", []), head.get("tokenizer.ggml.token_type", [])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    texts = [i for i, kind in enumerate(types) if kind not in (_UNKNOWN, _CONTROL, _BYTE) and len(tokens[i]) > 1]
    merges = [
        (tokens[i][:cut], tokens[i][cut:])
        for i in sorted(texts, key=lambda i: -scores[i])
        for cut in range(1, len(tokens[i]))
        if tokens[i][:cut] in vocabulary and tokens[i][cut:] in vocabulary
    ]
    unknown = _token(tokens, head, "unknown_token_id") or tokens[types.index(_UNKNOWN)]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    space = [normalizers.Prepend("▁")] if head.get("tokenizer.ggml.add_space_prefix", True) else []
    tokenizer.normalizer = normalizers.Sequence([*space, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if space else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _add_tokens(tokenizer: Any, tokens: list[str], head: GgufHead) -> None:
    """The tokens that are found whole in a text before anything else."""
    from tokenizers import AddedToken

    # llama.cpp gives Phi-3's turn tokens this attribute by the model's name
    phi3 = swallows_white_space(str(head.get("general.name", "")))
    added = [
        AddedToken(
            token,
            normalized=False,
            special=kind != _USER_DEFINED,
            rstrip=phi3 and kind != _USER_DEFINED and token not in ("<unk>", "<s>", "<|endoftext|>"),
        )
        for token, kind in zip(tokens, head.get("tokenizer.ggml.token_type", []), strict=False)
        if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED)
    ]
    tokenizer.add_tokens(added)

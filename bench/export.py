"""Time and memory of the export, against `cp` and `sha256sum` of a file of the result's size.

    python -m bench.export [--types f16 q8_0] [--rounds 3] [--folder DIR]

A model folder of the shape of Qwen2.5-0.5B (24 layers, width 896, 151,936 tokens, tied embeddings, bfloat16) and a
LoRA adapter of rank 8 on all linear layers are made of random numbers, with a byte-level tokenizer of the same size.
Memory is the peak of all processes of the export together, sampled 20 times a second (Linux: proportional shares, so
that pages of two processes count once), less the largest tensor as the base model keeps it. Seconds are the median of
the rounds, each round both ways in turn, and include the start of the interpreter and all imports. Prints one JSON
line for each file type.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

LAYERS, WIDTH, INNER, HEADS, KEY_HEADS, VOCABULARY, RANK = 24, 896, 4864, 14, 2, 151936, 8
QUERIES, KEYS = HEADS * 64, KEY_HEADS * 64
LINEAR = {
    "self_attn.q_proj": (QUERIES, WIDTH), "self_attn.k_proj": (KEYS, WIDTH), "self_attn.v_proj": (KEYS, WIDTH),
    "self_attn.o_proj": (WIDTH, QUERIES), "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}  # fmt: skip
MB = 1e6
SCRIPT = """
import sys
from pathlib import Path
from ollama_export.gguf.export import export_gguf
base, adapter, out = map(Path, sys.argv[1:4])
options = {"chat_template": "x", "add_bos": False, "eos_token": "<|im_end|>"}
export_gguf(base, "folder", adapter, out, file_type=sys.argv[4], **options)
"""


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str, scale: float) -> None:
    """Random normal weights (bfloat16 or float32), written one tensor at a time."""
    import numpy as np

    random = np.random.default_rng(0)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * (2 if dtype == "BF16" else 4)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            weights = random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
            file.write((weights.view(np.uint32) >> 16).astype(np.uint16).data if dtype == "BF16" else weights.data)


def make_base(folder: Path) -> None:
    """The model folder."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": WIDTH,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS, "vocab_size": VOCABULARY, "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": True, "dtype": "bfloat16",
        "bos_token_id": VOCABULARY - 3, "eos_token_id": VOCABULARY - 1, "hidden_act": "silu",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, shape in LINEAR.items():
            shapes[f"{prefix}{name}.weight"] = shape
            if name[-6:] in ("q_proj", "k_proj", "v_proj"):
                shapes[f"{prefix}{name}.bias"] = shape[:1]
        shapes |= {prefix + n: (WIDTH,) for n in ("input_layernorm.weight", "post_attention_layernorm.weight")}
    write_safetensors(folder / "model.safetensors", shapes, "BF16", 0.02)
    make_tokenizer(folder)


def make_tokenizer(folder: Path) -> None:
    """A byte-level BPE with as many tokens and merges as Qwen2's, split as Qwen2 splits."""
    from file_formats.pre_tokenizers import PRE_TOKENIZERS

    # the 256 characters that stand for bytes (GPT-2)
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(c) for c in seen] + [chr(256 + i) for i in range(256 - len(seen))]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens, merges = dict.fromkeys(alphabet), []
    for first in [*alphabet, *(a + b for a in alphabet for b in alphabet)]:
        for second in alphabet:
            if len(tokens) + len(special) < VOCABULARY and first in tokens and first + second not in tokens:
                tokens[first + second] = None
                merges.append(f"{first} {second}")
    ids = {token: i for i, token in enumerate([*tokens, *special])}
    pattern = PRE_TOKENIZERS["qwen2"].splits[0]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False) | {"special": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": {"type": "NFC"},
        "added_tokens": [{"id": ids[text], "content": text, **flags} for text in special],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {token: i for token, i in ids.items() if token not in special}, "merges": merges,
        },
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def make_adapter(folder: Path) -> None:
    """The LoRA adapter."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": "all-linear"}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):
        for name, (outputs, inputs) in LINEAR.items():
            module = f"base_model.model.model.layers.{layer}.{name}"
            shapes[f"{module}.lora_A.weight"] = (RANK, inputs)
            shapes[f"{module}.lora_B.weight"] = (outputs, RANK)
    write_safetensors(folder / "adapter_model.safetensors", shapes, "F32", 0.02)


def memory_of(process: Any) -> int:
    """Bytes of physical memory that `process` and its children use."""
    import psutil

    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            used = one.memory_full_info()
            total += getattr(used, "pss", used.uss)
        except psutil.Error:
            continue
    return total


def export(base: Path, adapter: Path, out: Path, file_type: str) -> tuple[float, int]:
    """(seconds, peak bytes) of one export, run as a program of its own: interpreter and imports included."""
    import psutil

    start = time.perf_counter()
    command = [sys.executable, "-c", SCRIPT, str(base), str(adapter), str(out), file_type]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as running:
        peak, watched = [0], psutil.Process(running.pid)

        def watch() -> None:
            while running.poll() is None:
                try:
                    peak[0] = max(peak[0], memory_of(watched))
                except psutil.Error:
                    return
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        if running.wait():
            raise SystemExit(running.returncode)
        seconds = time.perf_counter() - start
        watcher.join()
    return seconds, peak[0]


def copy_and_hash(path: Path) -> float:
    """Seconds of `cp` and `sha256sum` (elsewhere: shutil and hashlib) of `path`."""
    copy = path.with_suffix(".copy")
    start = time.perf_counter()
    if shutil.which("cp") and shutil.which("sha256sum"):
        subprocess.run(["cp", str(path), str(copy)], check=True)
        subprocess.run(["sha256sum", str(copy)], check=True, stdout=subprocess.DEVNULL)
    else:
        shutil.copyfile(path, copy)
        with copy.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    seconds = time.perf_counter() - start
    copy.unlink()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="+", default=["f16", "q8_0"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (4 GB); default: the system's folder for such files")
    options = parser.parse_args()
    largest = VOCABULARY * WIDTH * 2
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make_base(folder / "base")
        make_adapter(folder / "adapter")
        for file_type in options.types:
            rounds, peak = [], 0
            for _ in range(options.rounds):
                out = folder / f"{file_type}.gguf"
                seconds, used = export(folder / "base", folder / "adapter", out, file_type)
                peak = max(peak, used)
                rounds.append((seconds, copy_and_hash(out)))
                size = out.stat().st_size
                out.unlink()
            ours, theirs = (sorted(r[i] for r in rounds)[len(rounds) // 2] for i in (0, 1))
            line = {
                "file_type": file_type, "result_MB": round(size / MB), "seconds": round(ours, 2),
                "cp_and_sha256sum_seconds": round(theirs, 2), "ratio": round(ours / theirs, 2),
                "peak_MB": round(peak / MB), "largest_tensor_MB": round(largest / MB),
                "peak_less_largest_tensor_MB": round((peak - largest) / MB), "rounds": rounds,
            }  # fmt: skip
            print(json.dumps(line))  # noqa: T201


if __name__ == "__main__":
    main()

"""The kinds of files that come from elsewhere: how each is mutated, and what the program does with it.

A case is good if it is used or refused with a UserError that both languages have words for.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from file_formats.gguf import ARRAY, STRING, GgufHead, encode, read_head
from lora_trainer.errors import DataError, UserError
from tests.fuzz.imports import mutate_import, use_import
from tests.fuzz.mutations import changed, damaged, odd_value, overwritten, pick, written
from tests.fuzz.rows import LAYOUTS, ROWS_OF_A_FILE
from tests.support.tiny import make_tiny
from wizard import words


@dataclass(frozen=True)
class Kind:
    """`mutate(source, folder, chance)` writes a case into an empty folder, `use(folder)` does what a run would."""

    mutate: Callable[[Path, Path, Random], None]
    use: Callable[[Path], None]
    count: int
    """Cases of a whole run."""


def make_source(folder: Path) -> Path:
    """The good files: a model folder, GGUFs of two kinds of tokenizers, dialogues."""
    from tests.support.exports import export

    base = make_tiny(folder / "base")
    export(base, folder / "bpe.gguf", file_type="f16", chat_template=None)
    export(make_tiny(folder / "phi3", "phi3"), folder / "sentencepiece.gguf", file_type="f16", eos_token="<|end|>")
    return folder


def said(error: UserError) -> str:
    """The error in Chinese, and its key; raises where a language lacks words or values for it."""
    findings = error.values.get("findings", ())
    for language in words.LANGUAGES:
        words.use_language(language)
        for key, values in [(error.key, error.values), *((one.key, one.values) for one in findings)]:
            if words.t(key, **values).startswith(key):
                raise KeyError(key)
    return error.key


# Base models


def _use_model(source: str, scratch: Path) -> None:
    """All that is done with a base model between the question and the first step."""
    import torch

    from lora_trainer.engine.hardware import Hardware
    from lora_trainer.engine.memory import fit_memory
    from lora_trainer.models.load import chat_format_of, check_vocabulary, check_weights, load_model, load_tokenizer
    from lora_trainer.models.recorded import base_record, resolve_recorded_base
    from lora_trainer.models.source import resolve_base_model
    from lora_trainer.models.tiny import make_tiny_model
    from lora_trainer.plan import TrainPlan
    from ollama_export.gguf.export import supported_architecture

    base = resolve_base_model(source)
    assert resolve_recorded_base(base_record(base)) == base
    check_weights(base)
    supported_architecture(base.path, base.kind)
    fit_memory(base, TrainPlan(), Hardware("cpu", "float32", "CPU", 1 << 34, 1 << 34))
    tokenizer = load_tokenizer(base)
    chat_format = chat_format_of(base, tokenizer)
    check_vocabulary(base, tokenizer, chat_format)
    ids = tokenizer(chat_format.render([{"role": "user", "content": "你好 1"}]), add_special_tokens=False).input_ids
    make_tiny_model(base, scratch)
    model = load_model(base, "cpu", "float32")
    model(torch.tensor([ids[:8]]))


def _use_folder(folder: Path) -> None:
    _use_model(str(folder / "base"), folder / "tiny")


def _mutated_json(name: str) -> Callable[[Path, Path, Random], None]:
    def mutate(source: Path, folder: Path, chance: Random) -> None:
        base = Path(shutil.copytree(source / "base", folder / "base"))
        values = json.loads((base / name).read_text(encoding="utf-8"))
        (base / name).write_bytes(written(changed(values, chance), chance))

    return mutate


def _mutate_safetensors(source: Path, folder: Path, chance: Random) -> None:
    base = Path(shutil.copytree(source / "base", folder / "base"))
    data = (base / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, weights = data[8 : 8 + length], data[8 + length :]

    def built(raw: bytes, told: int | None = None) -> bytes:
        return (len(raw) if told is None else told).to_bytes(8, "little") + raw + weights

    mutated = pick(
        chance,
        (6, lambda: built(written(changed(json.loads(header), chance), chance))),
        (1, lambda: built(header, chance.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1)))),
        (1, lambda: built(damaged(header, chance))),
        (1, lambda: damaged(data, chance)),
    )
    (base / "model.safetensors").write_bytes(mutated)


# GGUF


def _gguf(head: GgufHead, weights: bytes) -> bytes:
    """A file of a head, written without a look at whether it is a good one."""
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(head.tensors), len(head.metadata))]
    for key, value in head.metadata.items():
        parts += [encode(key, STRING)[4:], value]
    for tensor in head.tensors:
        name, shape = encode(tensor.name, STRING)[4:], tensor.shape[::-1]
        parts.append(name + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, tensor.type, tensor.offset))
    raw = b"".join(parts)
    return raw.ljust(-(-len(raw) // 32) * 32, b"\0") + weights


def _odd_entry(old: bytes, head: GgufHead, chance: Random) -> bytes:
    """Another metadata value in place of `old`: of its type, of another one, or none at all."""
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: chance.choice(list(head.metadata.values())),
        lambda: encode(chance.choice((0, 1, -1, 3, 2**31 - 1)), 5),
        lambda: encode(chance.choice((0, 2**32 - 1, 12345)), 4),
        lambda: encode(chance.choice((0.0, float("nan"), 1e30)), 6),
        lambda: encode(str(odd_value(chance))[:500].encode("utf-8", "replace"), STRING),
        lambda: encode([str(number) for number in range(chance.randrange(5))], ARRAY, STRING),
        lambda: encode([-1, 0, 10**6], ARRAY, 5),
        lambda: overwritten(old, chance),
        lambda: struct.pack("<I", chance.randrange(20)) + old[4:],
    )
    return chance.choice(kinds)()


def _mutate_gguf(source: Path, folder: Path, chance: Random) -> None:
    path = chance.choice((source / "bpe.gguf", source / "sentencepiece.gguf"))
    data, head = path.read_bytes(), read_head(path)
    start = min(tensor.offset for tensor in head.tensors)
    metadata = dict(head.metadata)
    tensors = [_moved(tensor, -start) for tensor in head.tensors]
    for _ in range(chance.randint(1, 3)):
        key = chance.choice(list(metadata))
        at = chance.randrange(len(tensors))
        what = chance.randrange(8)
        if what < 4:
            metadata[key] = _odd_entry(metadata[key], head, chance)
        elif what == 4:
            del metadata[key]
        elif what == 5:
            del tensors[at]
        else:
            tensors[at] = _moved(tensors[at], 0, **_odd_tensor(chance))
    mutated = pick(
        chance,
        (6, lambda: _gguf(GgufHead(metadata, tuple(tensors)), data[start:])),
        (2, lambda: overwritten(data[:start], chance) + data[start:]),
        (1, lambda: damaged(data, chance)),
    )
    (folder / "model.gguf").write_bytes(mutated)


def _odd_tensor(chance: Random) -> Mapping[str, Any]:
    return chance.choice(
        (
            {"name": chance.choice(("", "token_embd.weight", "blk.99.attn_q.weight", "blk.x.y", "\0", "x" * 200))},
            {"shape": chance.choice(((), (0,), (1,), (64,), (2**40, 2**40), (64, 64, 64, 64, 64), (2**63,)))},
            {"type": chance.choice((0, 1, 2, 8, 12, 14, 30, 4, 99, 2**31))},
            {"offset": chance.choice((0, 1, 31, 2**20, 2**40, 2**63))},
        )
    )


def _moved(tensor: Any, by: int, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(tensor, **{"offset": tensor.offset + by, **changes})


def _use_gguf(folder: Path) -> None:
    _use_model(str(folder / "model.gguf"), folder / "tiny")


# Dialogues


def _mutate_rows(_: Path, folder: Path, chance: Random) -> None:
    for name in ("train", "val")[: chance.choice((1, 1, 2))]:
        data = pick(chance, *((weight, lambda make=make: make(chance)) for weight, make in LAYOUTS))
        (folder / f"{name}.jsonl").write_bytes(damaged(data, chance) if chance.random() < 0.2 else data)


def _use_rows(folder: Path) -> None:
    from lora_trainer.data.dataset import load_dataset, raise_on_faults
    from lora_trainer.data.encode import encode as encode_dialogues
    from lora_trainer.models.load import chat_format_of, load_tokenizer
    from lora_trainer.models.source import resolve_base_model

    base = resolve_base_model(str(folder.parent / "source" / "base"))
    tokenizer = load_tokenizer(base)
    for skip in (True, False):
        data = load_dataset(folder, skip_bad_rows=skip)
        for dialogues in (data.train, data.val):
            encode_dialogues(dialogues, chat_format_of(base, tokenizer), tokenizer, 256)
        data.statistics()
        said(DataError("error.data.faults", count=1, findings=list(data.findings)))
        if not skip:
            raise_on_faults(data)


KINDS = {
    "gguf": Kind(_mutate_gguf, _use_gguf, 1000),
    "safetensors": Kind(_mutate_safetensors, _use_folder, 1000),
    "config": Kind(_mutated_json("config.json"), _use_folder, 1000),
    "tokenizer_config": Kind(_mutated_json("tokenizer_config.json"), _use_folder, 1000),
    "rows": Kind(_mutate_rows, _use_rows, 10_000 // ROWS_OF_A_FILE),
    "imports": Kind(mutate_import, use_import, 10_000),
}

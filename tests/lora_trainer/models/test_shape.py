"""A model's sizes are read from its files as transformers reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from file_formats.gguf import read_head
from lora_trainer.engine.hardware import Hardware
from lora_trainer.engine.memory import least_memory, shape_of, training_memory_needed
from lora_trainer.models.shape import shape_of_config, shape_of_gguf
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from tests.support.exports import export
from tests.support.tiny import FAMILIES, make_tiny

CPU = Hardware("cpu", "float32", "test", 16 << 30, 8 << 30)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_file_tells_the_shape_that_transformers_reads(tmp_path: Path, family: str) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path, family)))
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    shape = shape_of_config(config, base.parameters)
    assert shape is not None and vars(shape) | {"tied": True} == vars(shape_of(base)) | {"tied": True}
    assert least_memory(shape, TrainPlan(), CPU) == training_memory_needed(base, TrainPlan(), CPU)


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_tells_the_shape_of_the_folder_that_it_was_made_of(tmp_path: Path, tied: bool) -> None:
    folder = make_tiny(tmp_path / "tiny", "qwen3", tied=tied)
    base = resolve_base_model(str(folder))
    gguf = export(folder, tmp_path / "tiny.gguf", file_type="f16").path
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert shape_of_gguf(read_head(gguf)) == shape_of_config(config, base.parameters)


def test_older_names_and_usual_values_are_understood() -> None:
    shape = shape_of_config({"n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None, "vocab_size": 50257}, 124)
    assert shape is not None
    sizes = (shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.head_dim, shape.mlp)
    assert sizes == (768, 12, 12, 12, 64, 3072)


@pytest.mark.parametrize("missing", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_config_without_a_size_has_no_shape(missing: str) -> None:
    config = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512}
    assert shape_of_config(config, 1) is not None
    for wrong in (None, "64", 0, -1, True):
        assert shape_of_config({**config, missing: wrong}, 1) is None

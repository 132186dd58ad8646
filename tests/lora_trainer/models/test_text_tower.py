"""The text model within a model that takes images or sound as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lora_trainer.engine.memory import shape_of
from lora_trainer.models.load import check_weights, load_config, load_model, takes_more_than_text
from lora_trainer.models.source import resolve_base_model
from lora_trainer.models.text_tower import renamed, text_prefixes
from tests.support.architectures import make
from tests.support.tiny import make_tiny


@pytest.mark.parametrize("wrapper", ["gemma3", "qwen2_5_vl", "qwen3_vl", "mistral3", "qwen3_5", "llava", "gemma4"])
def test_it_computes_what_the_whole_model_computes_of_a_text(wrapper: str, tmp_path: Path) -> None:
    whole = make(wrapper, tmp_path)
    base = resolve_base_model(str(tmp_path))
    check_weights(base)
    text = load_model(base, "cpu", "float32").eval()
    assert type(text).__name__.endswith("ForCausalLM")
    own = sum(weight.numel() for weight in text.parameters())
    # Gemma 4's configuration has nothing that sees where nobody asks for it, and a number a layer that isn't learnt
    assert own <= base.parameters <= own + 6 * (wrapper == "gemma4")
    sees = own < sum(weight.numel() for weight in whole.parameters())
    assert takes_more_than_text(base) is sees is (wrapper != "gemma4")
    assert shape_of(base).hidden == 64
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(text(ids).logits, whole(input_ids=ids).logits, rtol=1e-5, atol=1e-5)


def test_whether_the_output_layer_is_the_embedding_is_what_the_files_say(tmp_path: Path) -> None:
    make("qwen2_5_vl", tmp_path)
    base = resolve_base_model(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    # wrappers say it at two places, and not always the same
    config["text_config"]["tie_word_embeddings"] = not config["text_config"].get("tie_word_embeddings", False)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tied = load_config(base).tie_word_embeddings
    assert tied is not any("lm_head" in name for name in _names(tmp_path))


def _names(folder: Path) -> list[str]:
    from file_formats.safetensors import read_head

    return list(read_head(folder / "model.safetensors").tensors)


@pytest.mark.parametrize(
    ("names", "inner", "outer"),
    [
        (["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"], "language_model.model.",
         "language_model."),
        (["model.language_model.embed_tokens.weight", "model.visual.embed_tokens.weight"], "model.language_model.",
         None),
        # Qwen2-VL's first files
        (["visual.blocks.0.attn.qkv.weight", "model.embed_tokens.weight", "lm_head.weight"], "model.", ""),
    ],
)  # fmt: skip
def test_how_its_weights_names_begin(names: list[str], inner: str, outer: str | None) -> None:
    assert text_prefixes(names) == (inner, outer)
    assert set(renamed(names).values()) == {"model."} | ({"lm_head"} if outer is not None else set())


def test_a_part_for_images_that_is_null_is_none(tmp_path: Path) -> None:
    config = json.loads((make_tiny(tmp_path) / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"vision_config": None}), encoding="utf-8")
    base = resolve_base_model(str(tmp_path))
    assert base.architecture == "Qwen2ForCausalLM" and not takes_more_than_text(base)

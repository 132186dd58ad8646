"""A base model that is a GGUF itself: SmolLM2-135M-Instruct in Q4_1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from file_formats.gguf import read_head
from ollama_export.llama_cpp.engine import Engine
from tests.support.adapters import make_adapter
from tests.support.architectures import make
from tests.support.exports import divergence, export, same_sums, smollm2, tensors

LINEAR = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
Tuned = tuple[Path, Any]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """An adapter, and peft's merge of it with the model as transformers reads it from the GGUF."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    path = smollm2()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    adapter = tmp_path_factory.mktemp("smollm2") / "adapter"
    adapted.save_pretrained(adapter)
    return adapter, adapted.merge_and_unload().eval()


def is_adapted(name: str) -> bool:
    """Whether a tensor of the GGUF is one of the linear layers."""
    return name.startswith("blk.") and name.split(".")[2] in LINEAR


def test_deltas_are_added_and_all_else_stays_bit_for_bit(tuned: Tuned, tmp_path: Path) -> None:
    import torch

    adapter, merged = tuned
    made = export(smollm2(), tmp_path / "out.gguf", adapter, kind="gguf")
    before, after, weights = tensors(smollm2()), tensors(made.path), merged.state_dict()
    assert set(before) == set(after)
    for name, tensor in after.items():
        if not is_adapted(name):
            assert tensor.tensor_type == before[name].tensor_type
            assert np.array_equal(tensor.data, before[name].data), name
        elif "attn_q" not in name and "attn_k" not in name:
            _, layer, part, _ = name.split(".")
            assert same_sums(tensor.data, weights[f"model.layers.{layer}.{LINEAR[part]}.weight"].numpy()), name
    # the rows of q and k stand in another order, which shows in the answer; the embedding stays in 8 bits, with
    # which llama.cpp multiplies activations in 8 bits
    with Engine(made.path, context=256) as engine:
        ids = engine.tokenize("The capital of France is", add_special=False)
        with torch.no_grad():
            expected = torch.log_softmax(merged(torch.tensor([ids])).logits[0, -1].double(), -1).numpy()
        assert divergence(expected, engine.logprobs(ids)) < 1e-3


def test_deltas_are_requantised_to_the_file_type_asked(tuned: Tuned, tmp_path: Path) -> None:
    exact = tensors(export(smollm2(), tmp_path / "f32.gguf", tuned[0], kind="gguf").path)
    made = export(smollm2(), tmp_path / "q8_0.gguf", tuned[0], kind="gguf", file_type="q8_0")
    assert read_head(made.path).get("general.file_type") == 7
    for name, tensor in tensors(made.path).items():
        if is_adapted(name):
            assert tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
            assert np.array_equal(tensor.data, gguf.quants.quantize(exact[name].data, tensor.tensor_type)), name


def test_without_an_adapter_only_the_conversation_changes(tmp_path: Path) -> None:
    made = export(smollm2(), tmp_path / "out.gguf", kind="gguf", file_type="f16", chat_template="{{ messages }}")
    before, after = read_head(smollm2()), read_head(made.path)
    assert {t.name: t.type for t in after.tensors} == {t.name: t.type for t in before.tensors}
    assert after.get("tokenizer.chat_template") == "{{ messages }}"
    keys = before.metadata.keys() | after.metadata.keys()
    changed = {key for key in keys if before.metadata.get(key) != after.metadata.get(key)}
    ours = {f"tokenizer.ggml.{key}" for key in ("add_bos_token", "add_eos_token", "eos_token_id", "eot_token_id")}
    assert changed <= ours | {"tokenizer.chat_template"}
    assert after.get("general.file_type") == before.get("general.file_type") == 3


def test_a_base_of_another_alignment_keeps_it_and_loads(tiny_gguf: Path, tmp_path: Path) -> None:
    source = gguf.GGUFReader(tiny_gguf)
    writer = gguf.GGUFWriter(tmp_path / "base.gguf", "llama")
    writer.add_custom_alignment(256)
    for key, field in source.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if field.types[1:] else None)
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made = export(tmp_path / "base.gguf", tmp_path / "out.gguf", kind="gguf", file_type="f16")
    head = read_head(made.path)
    assert head.get("general.alignment") == 256
    assert {tensor.offset % 256 for tensor in head.tensors} == {0}
    before, after = tensors(tiny_gguf), tensors(made.path)
    assert {name: tensor.data.tobytes() for name, tensor in after.items()} == {
        name: tensor.data.tobytes() for name, tensor in before.items()
    }
    with Engine(made.path, context=64) as engine:
        assert engine.complete("a", max_tokens=2).tokens


@pytest.mark.parametrize("architecture", ["lfm2", "nemotron", "stablelm", "starcoder2"])
def test_an_adapter_in_a_gguf_is_what_it_is_in_the_folder_that_this_was_made_of(
    architecture: str, tmp_path: Path
) -> None:
    make(architecture, tmp_path / "base")
    end = "<|endoftext|>" if architecture == "nemotron" else "<|im_end|>"
    adapter = make_adapter(tmp_path / "base", tmp_path / "adapter")
    base = export(tmp_path / "base", tmp_path / "base.gguf", eos_token=end).path
    by_folder = tensors(export(tmp_path / "base", tmp_path / "one.gguf", adapter, eos_token=end).path)
    by_gguf = tensors(export(base, tmp_path / "two.gguf", adapter, kind="gguf", eos_token=end).path)
    assert by_folder.keys() == by_gguf.keys()
    assert all(np.array_equal(by_folder[name].data, by_gguf[name].data) for name in by_folder)
    before = tensors(base)
    assert any(not np.array_equal(before[name].data, by_gguf[name].data) for name in before)

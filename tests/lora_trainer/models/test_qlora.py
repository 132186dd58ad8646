"""Training with the base model in 4 bits: it saves memory, and nothing of the 4 bits is published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_trainer.engine.hardware import Hardware
from lora_trainer.engine.memory import training_memory_needed
from lora_trainer.errors import ResourceError, UsageError
from lora_trainer.events import Event, Note, ignore
from lora_trainer.models.load import load_model
from lora_trainer.models.quantization import check_four_bits
from lora_trainer.models.source import BaseModel, resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import train, trainable_model
from ollama_export.server.client import OllamaClient
from pipeline.checks import preflight, resources
from tests.pipeline.checks.test_preflight import job
from tests.support.adapters import merge_with_peft
from tests.support.exports import export, tensors
from tests.support.launcher import DDP, launcher, start
from tests.support.program import Program
from tests.support.tiny import FAMILIES, make_tiny
from tests.support.train_tiny import prepared

CPU = Hardware("cpu", "float32", "test", 8 << 30, 8 << 30)
PLAN = TrainPlan(epochs=1.5, batch_size=4, learning_rate=5e-3, qlora=True)
"""13 dialogues: 6 steps."""
FULL = replace(PLAN, qlora=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def parts(model: Path) -> Any:
    return prepared(model)


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_all_linear_layers_but_the_output_layer_are_in_four_bits_and_get_an_adapter(family, tmp_path):
    base = resolve_base_model(str(make_tiny(tmp_path, family, tied=family == "qwen2")))
    in_four_bits, full = (trainable_model(base, plan, "cpu", "float32") for plan in (PLAN, FULL))
    assert type(in_four_bits.get_output_embeddings()) is type(full.get_output_embeddings())
    packed = {name for name, weight in in_four_bits.named_parameters() if weight.dtype.itemsize == 1}
    linear = {name for name, _ in full.named_parameters() if "base_layer.weight" in name}
    assert packed == linear and len(linear) >= 2 * 4
    adapters = [{name for name, w in each.named_parameters() if w.requires_grad} for each in (in_four_bits, full)]
    assert adapters[0] == adapters[1]


def test_gradients_are_the_same_before_and_after_an_evaluation(parts):
    import torch

    base, _, rows, _ = parts
    model = trainable_model(base, PLAN, "cpu", "float32")
    ids = torch.tensor([rows[0].sequences[0].prompt_ids])
    trained = [weight for weight in model.parameters() if weight.requires_grad]

    def gradients() -> list[Any]:
        model.train()
        return list(torch.autograd.grad(model(input_ids=ids, labels=ids).loss, trained))

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    assert all(torch.equal(*pair) for pair in zip(before, gradients(), strict=True))
    assert any(gradient.abs().sum() > 0 for gradient in before)


def test_it_learns_as_with_full_weights_and_shares_beginnings(parts, tmp_path, capfd):
    events: list[Event] = []
    result = train(*parts, PLAN, tmp_path / "four", listener=events.append, hardware=CPU)
    assert not [event for event in events if isinstance(event, Note)]
    assert capfd.readouterr() == ("", "")
    full = train(*parts, FULL, tmp_path / "full", hardware=CPU)
    assert result.losses[-1][1] < result.losses[0][1] - 1
    four, whole = ([loss for _, loss in run.losses] for run in (result, full))
    # NF4 is off by some hundredths of a weight
    assert four == pytest.approx(whole, rel=0.05) and four != whole


def test_going_on_after_an_interruption_gives_the_same_adapter(parts, tmp_path):
    train(*parts, PLAN, tmp_path / "whole", hardware=CPU)
    steps: list[Event] = []
    first = train(
        *parts, PLAN, tmp_path / "parts", listener=steps.append, stop=lambda: len(steps) > 4, hardware=CPU
    )  # fmt: skip
    assert first.interrupted
    train(*parts, PLAN, tmp_path / "parts", resume=True, hardware=CPU)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_little_memory_recomputes_activations_to_the_same_losses(parts, tmp_path, dtype):
    hardware = replace(CPU, dtype=dtype)
    usual = train(*parts, PLAN, tmp_path / "usual", hardware=hardware)
    little = train(*parts, PLAN, tmp_path / "little", hardware=replace(hardware, memory_free=1 << 20))
    # as far as the type's digits go, after some steps
    exact = 1e-5 if dtype == "float32" else 1e-2
    assert [loss for _, loss in little.losses] == pytest.approx([loss for _, loss in usual.losses], rel=exact)


def test_two_processes_give_the_losses_of_one(model, parts, tmp_path):
    alone = train(*parts, PLAN, tmp_path / "alone", hardware=CPU)
    script = ["-m", "tests.support.train_tiny", str(model), str(tmp_path / "run"), json.dumps(PLAN.to_json())]
    assert start(*launcher(*DDP), *script, str(tmp_path / "out")).wait() == 0
    told = json.loads((tmp_path / "out.0").read_text(encoding="utf-8"))["result"]["losses"]
    # two halves of a step are summed up in another order
    assert [loss for _, loss in told] == pytest.approx([loss for _, loss in alone.losses], rel=1e-4)


def test_what_is_published_is_the_base_models_own_weights_and_the_adapter(tmp_path, ollama):
    program = Program(tmp_path, ollama.url)
    name = ollama.name("zzhua")
    told = program.run("--ollama_name", name, "--qlora", "--quantize", "f32", "--keep_gguf", "--learning_rate", "5e-3")
    assert told["plan"]["qlora"] and OllamaClient(ollama.url).stored_gguf(name) == told["gguf"]["digest"]
    assert "Training in 4 bits" in told["shown"] and "no time" in told["shown"]
    folder = Path(told["folder"])
    merge_with_peft(program.base, folder / "adapter", tmp_path / "merged")
    export(tmp_path / "merged", tmp_path / "merged.gguf")
    export(program.base, tmp_path / "base.gguf")
    published, merged, base = (
        tensors(path) for path in (next(folder.glob("*.gguf")), tmp_path / "merged.gguf", tmp_path / "base.gguf")
    )
    assert published.keys() == merged.keys()
    for name, tensor in published.items():
        # two libraries' products of float32
        np.testing.assert_allclose(tensor.data, merged[name].data, atol=1e-6, err_msg=name)
    apart = {name for name, tensor in published.items() if not np.array_equal(tensor.data, base[name].data)}
    assert len(apart) == 2 * 7


def test_training_on_keeps_the_four_bits_and_goes_on_exactly_until_told_otherwise(tmp_path):
    program = Program(tmp_path)
    program.run("--no_register", "--epochs", "2", "--qlora")
    more = program.run("--no_register", "--continue_train", "--add_epochs", "1")
    assert more["plan"]["qlora"] and more["plan"]["sources"]["qlora"] == "record"
    assert program.newest.record["began_with"] == {"run": 1, "step": 11}
    program.run("--no_register", "--epochs", "3", "--qlora", "--ollama_name", "whole")
    assert weights(program.history.newest("zzhua").folder) == weights(program.history.newest("whole").folder)
    told = program.run("--no_register", "--continue_train", "--add_epochs", "1", "--no_qlora")
    assert not told["plan"]["qlora"] and "began_with" not in program.newest.record
    assert "(qlora)" in told["shown"]


def test_a_gguf_base_is_refused_before_any_training(tmp_path, tiny_gguf):
    told = Program(tmp_path).run("--no_register", "--qlora", "--base_model", str(tiny_gguf), expect=2)
    assert told["error"]["key"] == "error.qlora.gguf" and "--base_model" in told["error"]["message"]


def test_weights_that_are_to_be_split_among_devices_are_refused(parts, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match=r"qlora\.sharded"):
        resources.check_four_bits(parts[0], ignore)


@pytest.mark.parametrize(
    ("version", "code", "key"),
    [("0.40.0", "", "not_installed"), ("0.50.2", "raise OSError('libcudart.so is missing')", "fails")],
)
def test_a_bitsandbytes_that_is_too_old_or_does_not_work_is_told_early(tmp_path, version, code, key):
    program = Program(tmp_path)
    package, facts = tmp_path / "other" / "bitsandbytes", tmp_path / "other" / f"bitsandbytes-{version}.dist-info"
    for folder in (package, facts):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text(code + "\n", encoding="utf-8")
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: bitsandbytes\nVersion: {version}\n", encoding="utf-8"
    )
    program.environment["PYTHONPATH"] = str(tmp_path / "other")
    told = program.run("--no_register", "--qlora", expect=2)
    assert told["error"]["key"] == f"error.qlora.{key}" and program.newest is None
    assert "pip install -U bitsandbytes" in told["error"]["message"]


def test_a_device_that_four_bits_do_not_work_on_is_told_with_the_reason():
    with pytest.raises(UsageError) as refused:
        check_four_bits("a/base", "folder", device="mps", device_name="test", dtype="float32", sharded=False)
    assert refused.value.key == "error.qlora.fails" and refused.value.values["reason"]


@pytest.fixture(scope="module")
def seven_billion(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """Qwen2.5-7B as far as arithmetic goes: 6.5 of its 7.6 billion weights are in linear layers."""
    from transformers import AutoConfig

    folder = make_tiny(tmp_path_factory.mktemp("7b"))
    # before the configuration that its weights don't fit
    base = replace(resolve_base_model(str(folder)), parameters=7_615_616_512)
    shape = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
    shape |= {"num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False}
    AutoConfig.for_model("qwen2", **shape, architectures=["Qwen2ForCausalLM"]).save_pretrained(folder)
    return base


def test_seven_billion_weights_take_a_third_of_the_memory(seven_billion):
    gpu = Hardware("cuda", "bfloat16", "test", 12 << 30, 12 << 30)
    full, four = (training_memory_needed(seven_billion, plan, gpu) for plan in (FULL, PLAN))
    linear = 28 * 3584 * (2 * 3584 + 2 * 512 + 3 * 18944)
    assert full - four == pytest.approx(linear * (2 - 0.516), rel=1e-3)
    assert full > 15.2e9 and 5.5e9 < four < 8e9


def test_where_memory_is_short_qlora_is_named_if_it_is_enough(seven_billion, tmp_path, monkeypatch):
    for free, key in ((12 << 30, "too_small_unless_qlora"), (4 << 30, "too_small")):
        monkeypatch.setattr("lora_trainer.engine.hardware.detect", lambda free=free: replace(CPU, memory_free=free))
        with pytest.raises(ResourceError) as refused:
            preflight.check_memory(job(tmp_path, seven_billion.path), seven_billion)
        assert refused.value.key == f"error.memory.{key}"
    monkeypatch.setattr("lora_trainer.engine.hardware.detect", lambda: replace(CPU, memory_free=12 << 30))
    assert preflight.check_memory(job(tmp_path, seven_billion.path, plan=PLAN), seven_billion)


def test_only_the_weights_of_linear_layers_are_rounded(model):
    four, full = (load_model(resolve_base_model(str(model)), "cpu", "float32", four_bits=b) for b in (True, False))
    whole = dict(full.named_parameters())
    kept = {name: w for name, w in four.named_parameters() if w.dtype.itemsize > 1}
    assert {"model.embed_tokens.weight", "model.norm.weight"} < kept.keys()
    assert all(weight.equal(whole[name]) for name, weight in kept.items())

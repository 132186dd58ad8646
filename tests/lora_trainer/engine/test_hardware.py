"""The device, its arithmetic and its memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lora_trainer.engine.hardware import Hardware, detect
from lora_trainer.engine.memory import MemoryUse, fit_memory, shape_of, training_memory_needed
from lora_trainer.engine.sharding import check_version
from lora_trainer.errors import UsageError
from lora_trainer.models.source import BaseModel, resolve_base_model
from lora_trainer.plan import TrainPlan
from tests.support.architectures import make
from tests.support.tiny import make_tiny

GPU = Hardware("cuda", "bfloat16", "test", 8 << 30, 8 << 30)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """Some 8 billion parameters as far as arithmetic goes."""
    return replace(resolve_base_model(str(make_tiny(tmp_path_factory.mktemp("tiny")))), parameters=8_000_000_000)


def test_this_machine_is_recognised() -> None:
    found = detect()
    assert found.memory_total >= found.memory_free > 0
    assert found.name and (found.device != "cpu" or found.dtype == "float32")


def test_eight_billion_weights_in_float32_do_not_fit_in_16_gigabytes(base: BaseModel) -> None:
    cpu = Hardware("cpu", "float32", "test", 16 << 30, 14 << 30)
    assert training_memory_needed(base, TrainPlan(), cpu) > 32e9 > cpu.memory_total
    assert 16e9 < training_memory_needed(base, TrainPlan(), GPU) < 20e9


def test_memory_needed_grows_with_rank_length_and_arithmetic(base: BaseModel) -> None:
    needed = training_memory_needed(base, TrainPlan(), GPU)
    assert training_memory_needed(base, TrainPlan(lora_rank=64), GPU) > needed
    assert training_memory_needed(base, TrainPlan(max_length=8192), GPU) > needed
    assert training_memory_needed(base, TrainPlan(), replace(GPU, dtype="float32")) > needed


def test_memory_is_used_as_fast_as_it_fits(base: BaseModel) -> None:
    plan = TrainPlan(max_length=1024, batch_size=64)
    roomy = replace(GPU, memory_free=100 << 30)
    assert fit_memory(base, plan, roomy) == MemoryUse(8192, checkpointing=False)
    assert fit_memory(base, plan, replace(GPU, memory_free=1)) == MemoryUse(1024, checkpointing=True)
    free, seen = 17 << 30, []
    while free > 15 << 30:
        use = fit_memory(base, plan, replace(GPU, memory_free=free))
        if use not in seen:
            seen.append(use)
        free -= 1 << 22
    assert seen == sorted(seen, key=lambda use: (use.checkpointing, -use.token_budget)) and len(seen) > 3


def test_short_dialogues_need_no_room_for_the_longest_that_may_come(base: BaseModel) -> None:
    plan, card = TrainPlan(max_length=8192, batch_size=8), replace(GPU, memory_free=16_560_000_000)
    assert fit_memory(base, plan, card) == MemoryUse(8192, checkpointing=True)
    assert fit_memory(base, plan, card, 150, 300) == MemoryUse(8192, checkpointing=False)
    # steps of many turns that don't fit at once are cut into pieces that do
    pieces = fit_memory(base, plan, replace(card, memory_free=16_510_000_000), 150, 3000)
    assert 150 < pieces.token_budget < 2400 and not pieces.checkpointing


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16")])
def test_bfloat16_is_for_cards_that_compute_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 + device, 8))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Test GPU {device}")
    assert detect() == Hardware("cuda", dtype, "Test GPU 0", 8, 5)  # type: ignore[arg-type]
    # one of several processes has a card of its own
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert detect() == Hardware("cuda", dtype, "Test GPU 1", 8, 6)  # type: ignore[arg-type]


def test_a_base_model_that_is_split_fits_where_a_whole_one_does_not(tmp_path: Path) -> None:
    base = replace(resolve_base_model(str(make_tiny(tmp_path))), parameters=32_000_000_000)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    deep = {**config, "num_hidden_layers": 64, "layer_types": ["full_attention"] * 64}
    (tmp_path / "config.json").write_text(json.dumps(deep), encoding="utf-8")
    assert training_memory_needed(base, TrainPlan(), GPU) > 64e9
    # a quarter of the weights, and two layers gathered
    assert 18e9 < training_memory_needed(base, TrainPlan(), replace(GPU, shards=4)) < 20e9


def test_only_version_2_of_fsdp_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_VERSION", "1")
    check_version()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"fsdp\.version"):
        check_version()
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_version()
    assert detect().shards == 2


def test_of_layers_with_sizes_of_their_own_the_largest_counts(tmp_path: Path) -> None:
    make("gemma4_text", tmp_path)
    shape = shape_of(resolve_base_model(str(tmp_path)))
    # five layers have heads of 16, the sixth of 32
    assert (shape.head_dim, shape.layers, shape.heads) == (32, 6, 4)

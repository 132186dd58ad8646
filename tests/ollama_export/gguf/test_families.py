"""Export: the GGUF of base + adapter holds what peft's merge holds, and answers as transformers does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ollama_export.llama_cpp.engine import Engine
from tests.support.adapters import make_adapter, merge_with_peft
from tests.support.exports import PROMPTS, divergence, export, same_sums, tensors
from tests.support.tiny import FAMILIES, TOKENIZERS, make_tiny

FILE_TYPE_TRIED = dict(zip(FAMILIES, ["f16", "q8_0", "f16", "q8_0", "bf16", "q8_0", "bf16"], strict=True))


@dataclass(frozen=True)
class Case:
    """A family's tiny model, an adapter, peft's merge of both, and the f32 GGUFs of merge and export."""

    family: str
    base: Path
    adapter: Path
    merged: Any
    expected: Path
    exported: Path
    eos: str


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    family = request.param
    folder = tmp_path_factory.mktemp(family)
    # sharded and untied in some families, one file and tied in the others
    shards = 2 if family in ("llama", "gemma3") else 1
    base = make_tiny(folder / "base", family, shards=shards, tied=family not in ("mistral", "phi3"))
    adapter = make_adapter(base, folder / "adapter")
    merged = merge_with_peft(base, adapter, folder / "merged")
    eos = TOKENIZERS[family][3]
    bos = {"add_bos": TOKENIZERS[family][2] is not None and family != "phi3", "eos_token": eos}
    expected = export(folder / "merged", folder / "expected.gguf", **bos).path
    exported = export(base, folder / "exported.gguf", adapter, **bos).path
    yield Case(family, base, adapter, merged, expected, exported, eos)


def test_every_tensor_equals_the_merge_of_peft_in_float32(case: Case) -> None:
    expected, exported = tensors(case.expected), tensors(case.exported)
    assert list(exported) == list(expected)
    for name, tensor in exported.items():
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert same_sums(tensor.data, expected[name].data), name


def test_every_tensor_is_rounded_once_from_the_merge_in_float32(case: Case, tmp_path: Path) -> None:
    file_type = FILE_TYPE_TRIED[case.family]
    made = export(case.base, tmp_path / "out.gguf", case.adapter, file_type=file_type, eos_token=case.eos)
    kind = gguf.GGMLQuantizationType[file_type.upper()]
    expected = tensors(case.exported)
    for name, tensor in tensors(made.path).items():
        vector = len(tensor.shape) == 1 or name.endswith("_norm.weight")
        assert tensor.tensor_type == (gguf.GGMLQuantizationType.F32 if vector else kind)
        assert np.array_equal(tensor.data, gguf.quants.quantize(expected[name].data, tensor.tensor_type)), name


def test_the_deltas_find_their_tensors_in_a_base_that_is_a_gguf(case: Case, tmp_path: Path) -> None:
    base = export(case.base, tmp_path / "base.gguf", eos_token=case.eos).path
    made = export(base, tmp_path / "out.gguf", case.adapter, kind="gguf", eos_token=case.eos)
    expected = tensors(case.exported)
    found = tensors(made.path)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert same_sums(tensor.data, expected[name].data), name


def test_llama_cpp_answers_as_transformers_does(case: Case) -> None:
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(case.base)
    with Engine(case.exported, context=256) as engine:
        for prompt in PROMPTS:
            ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            assert engine.tokenize(prompt, add_special=False) == ids
            with torch.no_grad():
                logits = case.merged(torch.tensor([ids])).logits[0, -1].double()
            expected = torch.log_softmax(logits, -1).numpy()[: engine.vocabulary]
            found = np.array(engine.logprobs(ids))
            assert np.abs(found - expected).max() < 1e-2
            assert divergence(expected, found) < 1e-5
            answer = engine.complete(ids, max_tokens=8).tokens
            with torch.no_grad():
                steps = case.merged(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1]
            # each token is the likeliest, or as likely: random weights have near ties
            chosen = steps.gather(1, torch.tensor(answer)[:, None])[:, 0]
            assert (steps.max(dim=1).values - chosen).max() < 1e-2
            assert len(answer) == 8 or answer[-1] == tokenizer.convert_tokens_to_ids(case.eos)

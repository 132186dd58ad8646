"""The conversations that prove a model: which ones, how they are asked, and in how many tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers.normalizers import Replace

from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.errors import ConversionError
from lora_trainer.models.load import chat_format_of, load_tokenizer
from lora_trainer.models.source import resolve_base_model
from ollama_export.llama_cpp.engine import Engine
from pipeline.checks.proofs import check_tokens, choose_proofs
from tests.support.exports import export
from tests.support.tiny import make_tiny

SYSTEM = "你是林栀。"
Read = tuple[ChatFormat, Any]


# the tokenizer of the second one adds a BOS token
@pytest.fixture(scope="module", params=["qwen2", "llama"])
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """A base model's chat format and its tokenizer."""
    base = resolve_base_model(str(make_tiny(tmp_path_factory.mktemp(request.param) / "base", request.param)))
    tokenizer = load_tokenizer(base)
    return chat_format_of(base, tokenizer), tokenizer


def dialogue(system: str | None, *contents: str) -> Dialogue:
    turns = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    turns += [{"role": roles[number % 2], "content": content} for number, content in enumerate(contents)]
    return Dialogue(tuple(turns), "train.jsonl", 1)


SHORT = dialogue(SYSTEM, "在吗？", "（点头）嗯。")
MIDDLE = dialogue(SYSTEM, "a", "b", "c", "d")
LONG = dialogue(SYSTEM, "a", "b", "c", "d", "e", "f")
OWN = dialogue("你是海盗。", "a", "b", "c", "d")


def test_the_shortest_the_longest_and_one_with_a_system_prompt_of_its_own_are_proven(read: Read) -> None:
    chat_format, tokenizer = read
    proofs = choose_proofs([MIDDLE, LONG, OWN, SHORT], SYSTEM, chat_format, tokenizer)
    # The model brings its own system prompt; only one that it doesn't have is sent.
    assert [proof.messages for proof in proofs] == [SHORT.messages[1:-1], LONG.messages[1:-1], OWN.messages[:-1]]
    for proof, proven in zip(proofs, (SHORT, LONG, OWN), strict=True):
        assert proof.prompt == chat_format.render(proven.messages[:-1])
        bos = chat_format.tokenizer_adds_bos
        assert proof.tokens == len(tokenizer(proof.prompt, add_special_tokens=bos).input_ids)


def test_without_a_system_prompt_all_that_a_dialogue_has_is_sent(read: Read) -> None:
    plain = dialogue(None, "a", "b")
    proofs = choose_proofs([plain, OWN], None, *read)
    assert [proof.messages for proof in proofs] == [plain.messages[:-1], OWN.messages[:-1]]


def test_dialogues_whose_tokens_are_others_in_llama_cpp_are_refused(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "base")
    base = resolve_base_model(str(folder))
    tokenizer = load_tokenizer(base)
    chat_format = chat_format_of(base, tokenizer)
    dialogues = [dialogue(SYSTEM, "a", "b"), dialogue(SYSTEM, "2 + 5 = ?", "7")]
    with Engine(export(folder, tmp_path / "out.gguf").path, context=256) as engine:
        assert check_tokens(engine, dialogues, chat_format, tokenizer) == 2
        # A digit is one token, whichever it is.
        tokenizer.backend_tokenizer.normalizer = Replace("7", "8")
        with pytest.raises(ConversionError) as refused:
            check_tokens(engine, dialogues, chat_format, tokenizer)
    assert refused.value.key == "error.tokens.differ" and "7" in refused.value.values["text"]
    pairs = zip(refused.value.values["ours"], refused.value.values["theirs"], strict=True)
    (others,) = ([ours, theirs] for ours, theirs in pairs if ours != theirs)
    assert tokenizer.convert_ids_to_tokens(others) == ["8", "7"]

"""A tokenizer that transformers builds otherwise than its own file says."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from lora_trainer.models.load import load_tokenizer
from lora_trainer.models.source import resolve_base_model
from lora_trainer.models.tokenizer_file import PROBES, cut_differently
from tests.support.tiny import FAMILIES, make_tiny


@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_folder_that_is_in_order_nothing_is_said(family: str, tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path, family)))
    assert cut_differently(base.path, load_tokenizer(base)) is None
    assert all(unicodedata.is_normalized("NFC", text) for text in PROBES)


def test_a_family_for_which_transformers_has_rules_of_its_own_is_found(tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path)))
    file = tmp_path / "tokenizer.json"
    # letter by letter: transformers builds Qwen2's way of cutting, whatever the file says
    values = json.loads(file.read_text(encoding="utf-8"))
    values["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": "."}
    file.write_text(json.dumps(values), encoding="utf-8")
    assert cut_differently(base.path, load_tokenizer(base)) == PROBES[0]


def test_a_file_that_cant_be_read_or_isnt_there_says_nothing(tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path)))
    tokenizer = load_tokenizer(base)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "9"}), encoding="utf-8")
    assert cut_differently(tmp_path, tokenizer) is None
    (tmp_path / "tokenizer.json").unlink()
    assert cut_differently(tmp_path, tokenizer) is None

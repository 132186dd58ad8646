"""Both twins of a chat format render every conversation as the training prompt: by Go and by llama.cpp."""

from __future__ import annotations

import json

import pytest

from lora_trainer.chat_format import find_chat_format
from ollama_export.template import gguf_chat_template, main, ollama_template
from tests.ollama_server.go_template import GoRenderer
from tests.support.chat_templates import CONVERSATIONS, ODD, REAL
from tests.support.llama_jinja import LlamaJinja

TEMPLATES = {**REAL, **ODD}
EVERY = [pytest.param(name, id=name) for name in TEMPLATES]


@pytest.fixture(scope="module")
def go():
    with GoRenderer() as renderer:
        yield renderer


@pytest.mark.parametrize("adds_bos", [False, True], ids=["BOS as text", "BOS by the tokenizer"])
@pytest.mark.parametrize("name", EVERY)
def test_go_renders_the_template_as_the_training_prompt(go, name, adds_bos):
    found = find_chat_format(TEMPLATES[name], bos="<s>", eos="</s>", tokenizer_adds_bos=adds_bos)
    template = ollama_template(found)
    rendered = go.render_many((template, conversation) for conversation in CONVERSATIONS)
    assert rendered == [found.render(conversation) for conversation in CONVERSATIONS]


@pytest.mark.parametrize("name", EVERY)
def test_llama_cpp_renders_the_chat_template_as_the_training_prompt(tiny_gguf, name):
    # By the tokenizer: llama.cpp takes a BOS text at the beginning away where the tokenizer adds the token.
    found = find_chat_format(TEMPLATES[name], bos="<s>", eos="</s>", tokenizer_adds_bos=True)
    with LlamaJinja(tiny_gguf, gguf_chat_template(found)) as jinja:
        rendered = [jinja.render(conversation) for conversation in CONVERSATIONS]
    assert rendered == [found.render(conversation) for conversation in CONVERSATIONS]


@pytest.mark.parametrize("name", EVERY)
def test_the_twins_offer_neither_tools_nor_thinking_and_fit_a_modelfile(go, name):
    found = find_chat_format(TEMPLATES[name], bos="<s>", eos="</s>")
    jinja, template = gguf_chat_template(found), ollama_template(found)
    for telltale in ("tools", "tool_call", "<think>", "</think>"):
        assert telltale not in jinja
    assert "messages" in go.variables(template)
    assert {"tools", "thinking", "suffix"}.isdisjoint(go.variables(template))
    assert template.isascii() and template.isprintable() and '"""' not in template


THINKING = ("HuggingFaceTB-SmolLM3-3B", "Qwen-Qwen3-0.6B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B")


@pytest.mark.parametrize("name", THINKING)
def test_the_twins_of_one_that_thinks_leave_the_thought_open_and_tell_ollama_its_tags(go, tiny_gguf, name):
    found = find_chat_format(TEMPLATES[name], bos="<s>", eos="</s>", tokenizer_adds_bos=True, thoughts=True)
    template, expected = ollama_template(found), [found.render(conversation) for conversation in CONVERSATIONS]
    assert go.render_many((template, conversation) for conversation in CONVERSATIONS) == expected
    # an earlier thought is no part of a prompt, whoever sends it
    sent = [{**turn, "thinking": "hm"} for turn in CONVERSATIONS[2]]
    assert go.render_many([(template, sent)]) == expected[2:3]
    assert go.thinking_tags(template) == ["<think>", "</think>"] and "thinking" in go.variables(template)
    with LlamaJinja(tiny_gguf, gguf_chat_template(found)) as jinja:
        assert [jinja.render(conversation) for conversation in CONVERSATIONS] == expected
    assert "<think>" not in gguf_chat_template(found)


def test_the_command_prints_a_line_for_each_file_and_tells_which_is_unproven(tmp_path, capsys):
    good, bad = tmp_path / "好 good.jinja", tmp_path / "bad.jinja"
    good.write_text(ODD["plain ChatML"], encoding="utf-8")
    bad.write_text("{{ messages | length }}", encoding="utf-8")
    assert main([str(good), str(bad), str(tmp_path / "missing.jinja")]) == 6
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["proven"] for row in rows] == [True, False, False]
    assert rows[0]["format"]["end_of_turn"] == "<|im_end|>" and rows[0]["reason"] is None
    assert rows[0]["ollama_template"] and rows[0]["gguf_chat_template"] and rows[1]["ollama_template"] is None
    assert all(row["reason"] for row in rows[1:])
    assert main([str(good)]) == 0

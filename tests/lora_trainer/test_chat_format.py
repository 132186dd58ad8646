"""The chat format is read off a family's template and proven, whatever its oddity."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from lora_trainer.chat_format import ChatFormat, find_chat_format
from lora_trainer.errors import BaseModelError
from tests.support.chat_templates import CONVERSATIONS, ODD, REAL

BOS, EOS = "<s>", "</s>"


def in_transformers(jinja: str, conversation: list[dict[str, str]], *, thinking: bool = False) -> str:
    """What transformers makes of a conversation, with the date that we freeze."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    template = _compile_jinja_template(jinja)
    template.environment.globals["strftime_now"] = datetime(2024, 7, 26).strftime
    template = template.environment.from_string(jinja)
    return template.render(
        messages=conversation,
        tools=None,
        documents=None,
        add_generation_prompt=True,
        enable_thinking=thinking,
        thinking=thinking,
        bos_token=BOS,
        eos_token=EOS,
    )


NO_SYSTEM_ROLE = ("google-gemma-2-2b-it", "no system role", "system prompt dropped in silence")
UNPASSED = {
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "{% set tools = [] %}",
    "a tools list that nobody passes": "{% set tools = [] %}",
    "a variable that nobody passes": "{% set persona = '' %}",
}
"""What a template wants that transformers doesn't pass either."""
CLOSING = {
    "a thought that no switch closes": "\n</think>\n\n",
    "a thought closed in the family's own way": "</think>\n",
}


@pytest.mark.parametrize("name", [*REAL, *ODD])
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_a_familys_prompt_is_what_transformers_renders(name, conversation):
    jinja = {**REAL, **ODD}[name]
    found = find_chat_format(jinja, bos=BOS, eos=EOS)
    asked = [dict(message) for message in conversation]
    if name in NO_SYSTEM_ROLE and asked[0]["role"] == "system":
        system = asked.pop(0)["content"]
        asked[0]["content"] = system + "\n\n" + asked[0]["content"]
    expected = in_transformers(UNPASSED.get(name, "") + jinja, asked) + CLOSING.get(name, "")
    assert found.render(conversation) == expected


def found(name: str) -> ChatFormat:
    return find_chat_format(ODD[name], bos=BOS, eos=EOS)


def test_a_default_system_prompt_opens_only_conversations_without_one():
    prompt = found("default system prompt").render
    assert prompt([{"role": "user", "content": "u"}]).count("You are odd.") == 1
    assert "You are odd." not in prompt([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])


def test_the_system_prompt_moves_along_to_the_last_user_turn():
    prompt = found("system prompt in the last user turn").render(CONVERSATIONS[5])
    assert prompt.endswith('[INST] sys\n\nq4 "quoted"[/INST]') and prompt.count("sys") == 1


@pytest.mark.parametrize("name", ["no system role", "system prompt dropped in silence"])
def test_a_family_without_system_role_gets_it_into_the_first_user_turn(name):
    format_ = found(name)
    assert format_.system_place == "first_user"
    assert format_.render(CONVERSATIONS[5]).index("sys\n\nq1") > 0


def test_an_open_thought_is_closed_and_history_stays_without():
    ending = found("a thought that no switch closes").render(CONVERSATIONS[2])
    assert ending.endswith("<｜Assistant｜><think>\n\n</think>\n\n") and ending.count("<think>") == 1
    own_way = found("a thought closed in the family's own way")
    assert own_way.generation_prompt == "<|assistant|><think></think>\n"


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
def test_a_thinking_switch_that_the_template_knows_is_used(switch):
    jinja = ODD["history without its thoughts, the last turn with"].replace("enable_thinking", switch)
    format_ = find_chat_format(jinja, bos=BOS, eos=EOS)
    assert format_.generation_prompt == "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert format_.assistant_before == "<|im_start|>assistant\n"


THINKING = {
    "HuggingFaceTB-SmolLM3-3B": ("<think>\n", "\n</think>\n"),
    "Qwen-Qwen3-0.6B": ("<think>\n", "\n</think>\n\n"),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ("", "\n</think>\n\n"),
    "openbmb-MiniCPM5-1B": ("", "\n</think>\n\n"),
    "a thought closed in the family's own way": ("\n", "</think>\n"),
}
"""Families that think -> what they write around a thought, behind the generation prompt."""


@pytest.mark.parametrize("name", THINKING)
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_a_thought_that_is_taught_is_left_open_by_the_prompt_and_begins_the_answer(name, conversation):
    jinja = {**REAL, **ODD}[name]
    format_ = find_chat_format(jinja, bos=BOS, eos=EOS, thoughts=True)
    assert format_.render(conversation) == in_transformers(jinja, conversation, thinking=True)
    before, after = THINKING[name]
    assert format_.completion("yes", "hm") == f"{before}hm{after}yes" and format_.thinks
    assert format_.spoken(format_.completion("yes", "hm")) == "yes" and format_.spoken("<think>hm") == ""
    assert format_.thought_tags == ("<think>", "</think>")
    assert ChatFormat.from_json(format_.to_json()) == format_


def test_an_answer_with_a_thought_is_what_the_family_itself_writes():
    jinja, question = REAL["Qwen-Qwen3-0.6B"], {"role": "user", "content": "q"}
    format_ = find_chat_format(jinja, bos=BOS, eos=EOS, thoughts=True)
    answer = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    written = in_transformers(jinja, [question, answer], thinking=True).removesuffix("<|im_start|>assistant\n")
    assert written == format_.render([question]) + format_.completion("a", "hm") + "<|im_end|>\n"


@pytest.mark.parametrize("name", ["Qwen-Qwen2.5-7B-Instruct", "plain ChatML", "google-gemma-2-2b-it"])
def test_a_family_that_knows_no_thoughts_cant_be_taught_any(name):
    with pytest.raises(BaseModelError) as refused:
        find_chat_format({**REAL, **ODD}[name], bos=BOS, eos=EOS, thoughts=True)
    assert refused.value.key == "error.format.no_thoughts"
    # and its record is what it was before there were thoughts
    assert not any("thought" in field for field in find_chat_format({**REAL, **ODD}[name], bos=BOS, eos=EOS).to_json())


def test_todays_date_is_frozen():
    assert "Today: 26 Jul 2024" in found("today's date").render(CONVERSATIONS[0])


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("plain ChatML", "<|im_end|>"),
        ("no system role", "<end_of_turn>"),
        ("system prompt dropped in silence", "<|end|>"),
        ("no end of turn after history", EOS),
        ("plain words for turns", EOS),
        ("a thought that no switch closes", EOS),
        ("BOS before every question", EOS),
    ],
)
def test_the_end_of_turn_is_the_token_that_ends_an_answer(name, end):
    assert found(name).end_of_turn == end


def test_eos_is_the_end_of_turn_where_other_tokens_stand_before_it():
    command_r = next(jinja for name, jinja in REAL.items() if "command-r7b" in name)
    format_ = find_chat_format(command_r, bos=BOS, eos="<|END_OF_TURN_TOKEN|>")
    assert format_.end_of_turn == "<|END_OF_TURN_TOKEN|>"


ENDS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|><|next|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize(
    ("special_tokens", "end"),
    [
        ((), "<|end|>"),
        (("<|next|>", "<|user|>", "<|end|>"), "<|end|>"),
        # where one is the beginning of another, the tokenizer finds the longer one
        (("<|en", "<|end|>", "<|e"), "<|end|>"),
        (("<|user|>", "<|next|>"), "<|next|>"),
        (("<|system|>",), EOS),
    ],
)
def test_the_first_special_token_behind_an_answer_is_its_end(special_tokens, end):
    assert find_chat_format(ENDS, bos=BOS, eos=EOS, special_tokens=special_tokens).end_of_turn == end


@pytest.mark.parametrize("name", ["BOS as text", "system prompt in the first user turn"])
def test_bos_text_is_printed_exactly_when_the_tokenizer_does_not_add_it(name):
    printed = find_chat_format(ODD[name], bos=BOS, eos=EOS, tokenizer_adds_bos=False)
    added = find_chat_format(ODD[name], bos=BOS, eos=EOS, tokenizer_adds_bos=True)
    for conversation in CONVERSATIONS:
        assert printed.render(conversation) == BOS + added.render(conversation)
        assert added.render(conversation).count(BOS) == 0


def test_a_format_survives_its_record():
    format_ = found("system prompt in the first user turn")
    assert ChatFormat.from_json(json.loads(json.dumps(format_.to_json()))) == format_


@pytest.mark.parametrize(
    ("jinja", "key"),
    [
        ("{{ messages[0].content }} and nothing else", "error.format.unexplained"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "error.format.unexplained"),
        ("{% for m in messages %}{{ m.content[::-1] }}|{% endfor %}", "error.format.unexplained"),
        ("{% for m in messages %}", "error.format.template"),
        ("{{ raise_exception('never') }}", "error.format.template"),
        ("{% for m in messages %}{{ loop.index }}{{ m.content }}|{% endfor %}", "error.format.unexplained"),
    ],
)
def test_a_template_that_constants_cannot_explain_is_refused(jinja, key):
    with pytest.raises(BaseModelError) as refused:
        find_chat_format(jinja, bos=BOS, eos=EOS)
    assert refused.value.key == key


def test_a_format_without_any_end_of_turn_is_refused():
    with pytest.raises(BaseModelError) as refused:
        find_chat_format(ODD["no end of turn after history"], bos="", eos="")
    assert refused.value.key == "error.format.no_end_of_turn"


def test_an_empty_system_prompt_is_none():
    format_ = find_chat_format(ODD["plain ChatML"], bos=BOS, eos=EOS)
    asked = [{"role": "user", "content": "u"}]
    assert format_.render([{"role": "system", "content": ""}, *asked]) == format_.render(asked)


GLM = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def test_where_the_template_writes_no_end_the_one_is_taught_that_the_next_turn_begins_with():
    ends = ["<|endoftext|>", "<|user|>", "<|observation|>"]
    format_ = find_chat_format(GLM, bos="", eos="<|endoftext|>", special_tokens=[*ends, "<|assistant|>"], ends=ends)
    assert format_.end_of_turn == "<|user|>" and format_.other_ends == ("<|endoftext|>", "<|observation|>")
    assert find_chat_format(GLM, bos="", eos="<|endoftext|>").end_of_turn == "<|endoftext|>"


def test_what_the_template_writes_behind_an_answer_is_its_end_whatever_else_generation_stops_at():
    format_ = find_chat_format(REAL["meta-llama-Llama-3.2-3B-Instruct"], bos="<|begin_of_text|>", eos="<|eot_id|>",
                               ends=["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"])  # fmt: skip
    assert format_.ends == ("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>")
    assert ChatFormat.from_json(json.loads(json.dumps(format_.to_json()))) == format_


def test_constants_are_cut_at_the_tokenizers_own_tokens_whatever_their_brackets():
    jinja = (
        "{% for m in messages %}]~b]{{ m.role }}\n{{ m.content }}[e~[\n{% endfor %}"
        "{% if add_generation_prompt %}]~b]ai\n{% else %}]!e~[{% endif %}"
    )
    plain, known = (
        find_chat_format(jinja, bos="", eos="[e~[", special_tokens=t) for t in ((), ("]~b]", "[e~[", "]!e~["))
    )
    assert known.assistant_after == "[e~[\n" and known.user_before.startswith("]~b]user")
    for conversation in CONVERSATIONS:
        assert known.render(conversation) == plain.render(conversation)

"""Chat templates of the families' kinds, each with one oddity, and the conversations they are judged on."""

from __future__ import annotations

import json
from pathlib import Path

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

ODD: dict[str, str] = {
    "plain ChatML": CHATML,
    "default system prompt": "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are odd.<|im_end|>\n' }}"
    "{% endif %}" + CHATML,
    "system prompt in the last user turn": "{{ bos_token }}{% if messages[0].role == 'system' %}{% set s = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}[INST]"
    "{% if loop.last and s is defined %} {{ s }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    "no system role": "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' + m.content | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    "system prompt dropped in silence": "{% for m in messages %}{% if m.role != 'system' %}"
    "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "system prompt in the first user turn": "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}{% set loop_messages = messages[1:] %}{% else %}{% set first = '' %}"
    "{% set loop_messages = messages %}{% endif %}{% for m in loop_messages %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' + (first if loop.first else '') + m.content"
    " + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    "history without its thoughts, the last turn with": "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<|im_start|>assistant\n<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' + m.content + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
    "a thought that no switch closes": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}",
    "a thought closed in the family's own way": "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|assistant|><think>' + (m.reasoning_content or '') + '</think>\n' + m.content + '<|end|>' }}"
    "{% else %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|><think>' }}{% endif %}",
    "today's date": "{{ '<|sys|>Today: ' + strftime_now('%d %b %Y') + '\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% set messages = messages[1:] %}{% endif %}{{ '<|eot|>' }}"
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    "no end of turn after history": "{% for m in messages %}{% if m.role == 'system' %}{{ m.content + '\n' }}"
    "{% elif m.role == 'user' %}{{ '<用户>' + m.content }}{% else %}{{ '<AI>' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<AI>' }}{% endif %}",
    "plain words for turns": "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '### Instruction:\n' + m.content + '\n\n' }}{% else %}{{ '### Response:\n' + m.content + eos_token + '\n\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}",
    "BOS before every question": "{% if messages[0].role == 'system' %}{% set s = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set s = '' %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (s if loop.first else '') + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}",
    "BOS as text": "{{ '<s>' }}" + CHATML,
    "a tools list that nobody passes": "{{ '<tools>' }}{% for t in tools %}{{ t.name }}{% endfor %}{{ '</tools><tool_call>' }}" + CHATML,
    "a variable that nobody passes": "{{ persona.upper() }}" + CHATML,
    "marked generation, loop controls": "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}"
    "{{ '<|' + m.role + '|>' }}{% generation %}{{ m.content }}{% endgeneration %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    "braces, quotes and invisible characters": '{% for m in messages %}{{ \'{{"\' + m.role + \'"}}\\\\\u3000\u200d"""\' '
    "+ m.content + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '{{\"assistant\"}}`' }}{% endif %}",
}


def shared_templates() -> list[Path]:
    """The chat templates of real families that lie beside these tests."""
    return sorted((Path(__file__).parent / "data" / "chat_templates").glob("*.jinja"))


CONVERSATIONS = json.loads((Path(__file__).parent / "data" / "conversations.json").read_text(encoding="utf-8"))

"""From a request's messages to the prompt: by TEMPLATE (Go) or by the GGUF's own Jinja (llama.cpp)."""

from __future__ import annotations

import re
from typing import Any

from .errors import ApiError
from .go_template import GoRenderer, GoTemplateError
from .model import Model
from .runner import Runner

Message = dict[str, Any]
Think = bool | str | None


def think_variables(think: Think) -> dict[str, Any]:
    level = think if isinstance(think, str) else ("medium" if think else "")
    return {"think": bool(think), "think_level": level, "is_think_set": think is not None}


def jinja_request(messages: list[Message], think: Think, tools: Any = None) -> dict[str, Any]:
    """What llama-server is told of a conversation."""
    body: dict[str, Any] = {"messages": [_llama_message(message) for message in messages]}
    if tools:
        body["tools"] = tools
    if think is not None:
        body["chat_template_kwargs"] = {"enable_thinking": bool(think)}
        if isinstance(think, str):
            body["chat_template_kwargs"]["reasoning_effort"] = think
    return body


def _llama_message(message: Message) -> Message:
    found = {"role": message["role"], "content": message.get("content", "")}
    for ours, theirs in (("tool_call_id", "tool_call_id"), ("tool_name", "name"), ("tool_calls", "tool_calls")):
        if message.get(ours):
            found[theirs] = message[ours]
    return found


class Prompter:
    def __init__(self, model: Model, runner: Runner, go: GoRenderer, think: Think, tools: Any = None) -> None:
        self.model, self.runner, self.go, self.think, self.tools = model, runner, go, think, tools

    def by_go(self, template: str, messages: list[Message], **variables: Any) -> str:
        """Raises ApiError (500) with Go's text."""
        wanted = {**think_variables(self.think), "tools": self.tools, **variables}
        try:
            return self.go.render(template, messages, **wanted)
        except GoTemplateError as error:
            raise ApiError(str(error), 500) from None

    def by_jinja(self, messages: list[Message]) -> str:
        return str(self.runner.post("/apply-template", jinja_request(messages, self.think, self.tools))["prompt"])

    def prompt(self, messages: list[Message], *, jinja: bool, limit: int) -> str:
        return self.render(self.fitting(messages, jinja=jinja, limit=limit), jinja=jinja)

    def render(self, messages: list[Message], *, jinja: bool) -> str:
        return self.by_jinja(messages) if jinja else self.by_go(self.model.template, messages)

    def fitting(self, messages: list[Message], *, jinja: bool, limit: int) -> list[Message]:
        """The longest tail (with the system messages before it) whose prompt fits the context; at least the last."""
        for first in range(len(messages)):
            kept = [message for message in messages[:first] if message["role"] == "system"] + messages[first:]
            if first == len(messages) - 1 or len(self.runner.tokenize(self.render(kept, jinja=jinja))) <= limit:
                return kept
        return messages


def served_prompt(model: Model, prompt: str) -> str:
    """Gemma's BOS text is left to the tokenizer where that adds it; every other BOS in the text stays (and doubles)."""
    adds = bool(model.gguf.values.get("tokenizer.ggml.add_bos_token", False))
    return prompt.removeprefix("<bos>") if adds else prompt


def without_old_thoughts(model: Model, messages: list[Message]) -> list[Message]:
    """Qwen3's thoughts are taken out of all answers before the last question."""
    if model.config.get("model_family") != "qwen3" and model.name.model != "deepseek-r1":
        return messages
    last = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    thought = re.compile(r"\s*<think>\s*(.*?)</think>\s*", re.DOTALL)
    return [
        {**message, "content": thought.sub("", message["content"], count=1)}
        if message["role"] == "assistant" and at < last and thought.match(message["content"])
        else message
        for at, message in enumerate(messages)
    ]

"""POST /api/chat and /api/generate."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from .asked import NO_UTF8, Asked
from .conversion import IsLegacy, converted, is_legacy
from .errors import ApiError
from .go_template import GoRenderer
from .model import Model
from .options import sampling_request
from .prompts import Message, Prompter, jinja_request, without_old_thoughts
from .releases import OLDEST, Release
from .replies import Reply, Stream, now
from .runner import Runner, Runners
from .store import Store


class Chat(Asked):
    noun = "chat"

    def said(self, text: str, thought: str = "") -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, **({"thinking": thought} if thought else {})}}

    def early(self) -> Reply | None:
        if not self.request.get("messages") and self.keep_alive == 0:
            return self.reply("unload")
        self.check("completion", *(["tools"] if self.request.get("tools") else []))
        return None

    def loaded(self, runner: Runner) -> Reply | None:
        self.load_ns = time.perf_counter_ns() - self.began
        if not self.request.get("messages"):
            return self.reply("load")
        asked: list[Message] = self.request["messages"]
        messages = [*self.model.messages, *asked]
        if asked[0]["role"] != "system" and self.model.system:
            messages.insert(0, {"role": "system", "content": self.model.system})
        messages = without_old_thoughts(self.model, messages)
        self.jinja = not self.model.uses_go_template
        self.prompter = Prompter(self.model, runner, self.go, self.think, self.request.get("tools"))
        self.messages = self.prompter.fitting(messages, jinja=self.jinja, limit=runner.context)
        # Rendered here: an error in a template is an answer of its own, not a line of a stream.
        self.prompt = self.prompter.render(self.messages, jinja=self.jinja)
        if self.renders_only:
            reply = self.reply(_debug_info={"rendered_template": self.prompt})
            reply.body["message"] = {"role": "", "content": ""}
            return reply
        return None

    def lines(self, runner: Runner) -> Iterator[dict[str, Any]]:
        if self.jinja:
            return self._by_llama(runner)
        return self.completion(runner, self.prompt, lambda _: {})

    def _by_llama(self, runner: Runner) -> Iterator[dict[str, Any]]:
        """The Jinja path: llama.cpp renders, answers, and takes thoughts out by itself."""
        body = jinja_request(self.messages, self.think, self.request.get("tools"))
        body |= sampling_request(self.options, runner.context)
        if self.request.get("logprobs"):
            body |= {"logprobs": True, "top_logprobs": max(int(self.request.get("top_logprobs") or 0), 1)}
        for event in runner.events("/v1/chat/completions", body):
            if not event.get("choices"):
                continue
            choice = event["choices"][0]
            delta = choice.get("delta", {})
            text, thought = delta.get("content") or "", delta.get("reasoning_content") or ""
            if NO_UTF8 in text + thought:
                yield self.broken_off()
                return
            line = {"model": self.request["model"], "created_at": now(), **self.said(text, thought), "done": False}
            line |= self.log_probabilities((choice.get("logprobs") or {}).get("content"))
            if choice.get("finish_reason"):
                reason = "length" if choice["finish_reason"] == "length" else "stop"
                yield line | {"done": True, "done_reason": reason} | self.metrics(event["timings"])
                return
            if text or thought or "logprobs" in line:
                yield line


class Generation(Asked):
    noun = "generate"

    def said(self, text: str, thought: str = "") -> dict[str, Any]:
        return {"response": text, **({"thinking": thought} if thought else {})}

    def early(self) -> Reply | None:
        request = self.request
        if not request.get("prompt") and self.keep_alive == 0:
            return self.reply("unload")
        if request.get("raw") and any(request.get(key) for key in ("template", "system", "context")):
            raise ApiError("raw mode does not support template, system, or context", 400)
        self.check("completion", *(["insert"] if request.get("suffix") else []))
        return None

    def loaded(self, runner: Runner) -> Reply | None:
        self.load_ns = time.perf_counter_ns() - self.began
        if not self.request.get("prompt"):
            return self.reply("load")
        self.prompt = self.request["prompt"] if self.request.get("raw") else self._rendered(runner)
        if self.renders_only:
            return self.reply(_debug_info={"rendered_template": self.prompt})
        return None

    def _rendered(self, runner: Runner) -> str:
        request, model = self.request, self.model
        prompter = Prompter(model, runner, self.go, self.think)
        before = runner.detokenize(request["context"]) if request.get("context") else ""
        if request.get("suffix"):
            template = request.get("template") or model.template
            return before + prompter.by_go(template, [], prompt=request["prompt"], suffix=request["suffix"])
        system = request.get("system") or model.system
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        if request.get("context") is None:
            messages += model.messages
        messages.append({"role": "user", "content": request["prompt"]})
        if request.get("template"):
            return before + prompter.by_go(request["template"], messages)
        # Without any template the default one, the bare prompt, goes through Go.
        jinja = bool(model.jinja) and not model.uses_go_template
        return before + prompter.prompt(messages, jinja=jinja, limit=runner.context)

    def lines(self, runner: Runner) -> Iterator[dict[str, Any]]:
        def finish(text: str) -> dict[str, Any]:
            return {} if self.request.get("raw") else {"context": runner.tokenize(self.prompt + text)}

        return self.completion(runner, self.prompt, finish)


@dataclass
class Answers:
    store: Store
    go: GoRenderer
    runners: Runners
    old: bool = False
    """An Ollama that doesn't know `_debug_render_only`: it generates."""
    release: Release = OLDEST
    legacy: IsLegacy = is_legacy
    takes: Callable[[], int] = lambda: 0
    """How many answers a model gives while it is converted in the background."""
    given: Counter[str] = field(default_factory=Counter)
    """Answers of each model that is being converted."""

    def chat(self, request: dict[str, Any]) -> Reply | Stream:
        return self._answer(Chat(self.store, self.go, request, old=self.old, release=self.release))

    def generate(self, request: dict[str, Any]) -> Reply | Stream:
        return self._answer(Generation(self.store, self.go, request, old=self.old, release=self.release))

    def _answer(self, asked: Asked) -> Reply | Stream:
        """All that can fail before the model speaks fails here; what it says is a stream or gathered."""
        early = asked.early()
        if early is not None:
            self.runners.unload(asked.model)
            return early
        if self.release.converts and self._is_written(asked.model):
            asked.model = converted(self.store, self.go, asked.model, self.legacy)
        stack = ExitStack()
        try:
            runner = stack.enter_context(self.runners.use(asked.model, asked.options["num_ctx"], asked.keep_alive))
            early = asked.loaded(runner)
        except BaseException:
            stack.close()
            raise
        if early is not None:
            stack.close()
            return early
        lines = _closing(asked.lines(runner), stack)
        return Stream(lines) if asked.request.get("stream") is not False else Reply(200, asked.gathered(lines))

    def _is_written(self, model: Model) -> bool:
        """Whether the conversion that the first load of a model began is done by now."""
        self.given[str(model.name)] += 1
        return self.given[str(model.name)] > self.takes()


def _closing(lines: Iterator[dict[str, Any]], stack: ExitStack) -> Iterator[dict[str, Any]]:
    with stack:
        yield from lines

"""What chat and generate have in common: the model, its checks, and how its words become lines."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from .errors import ApiError
from .go_template import GoRenderer, GoTemplateError
from .model import Model, load_model
from .names import BadReference, parse_reference
from .options import resolved_options, sampling_request
from .prompts import Think, served_prompt
from .releases import REPEATED, Release
from .replies import Reply, now
from .runner import FOREVER, Runner
from .store import Store

NO_UTF8 = "\ufffd"
"""What llama.cpp in process writes in place of bytes that are no UTF-8; its own server breaks the answer off there."""


class Asked:
    """One request. `old` is an Ollama that doesn't know `_debug_render_only`, and generates, nor log-probabilities."""

    noun = ""

    def __init__(self, store: Store, go: GoRenderer, request: dict[str, Any], *, old: bool, release: Release) -> None:
        self.store, self.go, self.request, self.old = store, go, request, old
        self.release = release
        self.began = time.perf_counter_ns()
        if not 0 <= int(request.get("top_logprobs") or 0) <= 20:
            raise ApiError("top_logprobs must be between 0 and 20", 400)
        self.keep_alive = _seconds(request.get("keep_alive"))
        self.think = _think(request.get("think"))
        self.model = self._find()
        self.options: dict[str, Any] = {}
        self.load_ns = 0

    def _find(self) -> Model:
        asked = self.request.get("model") or ""
        try:
            name, _, source = parse_reference(asked)
        except BadReference as error:
            raise self.bad_reference(error, asked) from None
        if source == "cloud":
            raise ApiError(cloud_failure(f"/api/{self.noun}"), 502)
        try:
            return load_model(self.store, self.store.existing_name(name), self.go)
        except FileNotFoundError:
            raise ApiError(f"model '{asked}' not found", 404) from None
        except GoTemplateError as error:
            raise ApiError(str(error), 500) from None

    def bad_reference(self, error: BadReference, asked: str) -> ApiError:
        if error.kind != "required":
            return ApiError(str(error), 400)
        return (
            ApiError("model is required", 400) if self.noun == "chat" else ApiError(f"model '{asked}' not found", 404)
        )

    def check(self, *wanted: str) -> None:
        """Capabilities, thinking and options, in that order. Raises ApiError."""
        if "thinking" in self.model.capabilities:
            self.think = True if self.think is None else self.think
        elif self.think:
            raise ApiError(f'"{self.request["model"]}" does not support thinking', 400)
        missing = [name for name in wanted if name not in self.model.capabilities]
        if "completion" in missing:
            raise ApiError(f'"{self.request["model"]}" does not support {self.noun}', 400)
        if missing:
            name = self.model.name
            full = f"{name.host}/{name.namespace}/{name.model}:{name.tag}"
            raise ApiError(f"{full} does not support {', '.join(missing)}", 400)
        self.options = resolved_options(self.model.options, self.request.get("options"))

    def early(self) -> Reply | None:
        raise NotImplementedError

    def loaded(self, runner: Runner) -> Reply | None:
        raise NotImplementedError

    def lines(self, runner: Runner) -> Iterator[dict[str, Any]]:
        raise NotImplementedError

    def said(self, text: str, thought: str = "") -> dict[str, Any]:
        raise NotImplementedError

    def reply(self, reason: str = "", **more: Any) -> Reply:
        done = {"done": True, "done_reason": reason} if reason else {"done": False}
        return Reply(200, {"model": self.request["model"], "created_at": now(), **self.said(""), **done, **more})

    def broken_off(self) -> dict[str, Any]:
        """The last line of an answer whose bytes are no UTF-8: neither a reason nor counts."""
        return {"model": self.request["model"], "created_at": now(), **self.said(""), "done": False}

    @property
    def renders_only(self) -> bool:
        return bool(self.request.get("_debug_render_only")) and not self.old

    def completion(
        self, runner: Runner, prompt: str, finish: Callable[[str], dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """The model goes on after a prompt. `finish` adds to the last line what it makes of the whole text."""
        body: dict[str, Any] = {"prompt": self._within(runner, served_prompt(self.model, prompt))}
        body |= sampling_request(self.options, runner.context)
        if self.request.get("logprobs"):
            body["n_probs"] = max(int(self.request.get("top_logprobs") or 0), 1)
        body |= _constraint(self.request.get("format"))
        whole, last, repeats = "", None, 0
        for event in runner.events("/completion", body):
            text = event.get("content", "")
            repeats = repeats + 1 if text.strip() == last else 0
            last = text.strip()
            if repeats > self.release.repeats:
                if self.release.repetition_is_an_error:
                    raise ApiError(REPEATED, 500)
                return
            if NO_UTF8 in text:
                yield self.broken_off()
                return
            whole += text
            line = {"model": self.request["model"], "created_at": now(), **self.said(text), "done": False}
            if event.get("stop"):
                length = event.get("stop_type") == "limit"
                yield {**line, "done": True, "done_reason": "length" if length else "stop", **finish(whole)} | (
                    self.metrics(event["timings"])
                )
                return
            if text:
                yield line | self.log_probabilities(event.get("completion_probabilities"))

    def _within(self, runner: Runner, prompt: str) -> str | list[int]:
        """A prompt longer than the context loses its middle: num_keep tokens and the end stay."""
        if len(prompt) < runner.context:
            return prompt
        tokens = runner.tokenize(prompt, add_special=True)
        room = runner.context
        if len(tokens) <= room - 1:
            return prompt
        keep = self.options["num_keep"] if self.options["num_keep"] >= 0 else len(tokens)
        keep = min(keep + bool(self.model.gguf.values.get("tokenizer.ggml.add_bos_token", False)), room - 1)
        limit = room - max((room - keep) // 2, 1)
        return tokens[:keep] + tokens[keep + len(tokens) - limit :]

    def metrics(self, timings: dict[str, Any]) -> dict[str, Any]:
        """Nanoseconds and counts; zeros are left out, as Go does."""
        found = {
            "total_duration": time.perf_counter_ns() - self.began,
            "load_duration": self.load_ns,
            "prompt_eval_count": timings["cache_n"] + timings["prompt_n"],
            "prompt_eval_duration": int(timings["prompt_ms"] * 1e6),
            "eval_count": timings["predicted_n"],
            "eval_duration": int(timings["predicted_ms"] * 1e6),
        }
        return {name: value for name, value in found.items() if value}

    def log_probabilities(self, found: list[dict[str, Any]] | None) -> dict[str, Any]:
        if not found or self.old:
            return {}
        top = int(self.request.get("top_logprobs") or 0) > 0
        return {"logprobs": [_logprob(one) | ({"top_logprobs": _top(one)} if top else {}) for one in found]}

    def gathered(self, lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """One object of all lines."""
        last: dict[str, Any] = {}
        texts, thoughts, logprobs = "", "", []
        for last in lines:
            spoken = last.get("message", last)
            texts += spoken.get("content", "") + spoken.get("response", "")
            thoughts += spoken.get("thinking", "")
            logprobs += last.get("logprobs", [])
        return {**last, **self.said(texts, thoughts), **({"logprobs": logprobs} if logprobs else {})}


def _constraint(form: Any) -> dict[str, Any]:
    if not form:
        return {}
    if form == "json":
        return {"json_schema": {}}
    if not isinstance(form, dict):
        raise ApiError(f'invalid format: {form!r}; expected "json" or a valid JSON Schema object', 500)
    return {"json_schema": form}


def _logprob(found: dict[str, Any]) -> dict[str, Any]:
    token = found["token"]
    spelled = {"bytes": list(token.encode())} if token else {}
    return {"token": token, "logprob": found["logprob"], **spelled}


def _top(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [_logprob(other) for other in found.get("top_logprobs", [])]


def _think(value: Any) -> Think:
    choices = '"high", "medium", "low", "max", true, or false'
    if value is None or isinstance(value, bool) or value in ("high", "medium", "low", "max"):
        return value
    if isinstance(value, str):
        raise ApiError(f'invalid think value: "{value}" (must be {choices})', 400)
    raise ApiError(f"think must be a boolean or string ({choices})", 400)


def _seconds(value: Any) -> float:
    """keep_alive: seconds, or a text such as 5m; negative is forever; five minutes where it isn't given."""
    if value is None:
        return 300.0
    if isinstance(value, str):
        if value == "0":
            return 0.0
        parts = re.findall(r"([\d.]+)(ms|h|m|s)", value)
        if not parts:
            raise ApiError(f'time: invalid duration "{value}"', 400)
        units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
        value = (-1 if value.startswith("-") else 1) * sum(float(count) * units[unit] for count, unit in parts)
    return FOREVER if value < 0 else float(value)


def cloud_failure(path: str) -> str:
    url = f"https://ollama.com:443{path}?ts={int(time.time())}"
    return f'Post "{url}": dial tcp: lookup ollama.com: no such host'

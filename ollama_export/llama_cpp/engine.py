"""llama.cpp with a GGUF loaded: answers, and shows what it makes of a prompt."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lora_trainer.errors import ConversionError
from ollama_export.ended import how_ended, was_killed
from ollama_export.gguf.head import gguf_head
from ollama_export.greedy import Greedy, Token, tokens_of
from ollama_export.llama_cpp.server import ANSWER_SECONDS, Died, Hangs, LlamaServer, Unusable

SAMPLING = (
    "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "presence_penalty",
    "frequency_penalty", "mirostat", "mirostat_tau", "mirostat_eta",
)  # fmt: skip
"""Ollama's sampling parameters (its docs/modelfile); llama.cpp's server has them under the same names."""


def sampled_by(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of a model's parameters, by Ollama's names, those that `Engine.complete` samples by."""
    return {name: parameters[name] for name in SAMPLING if name in parameters}


def is_installed() -> bool:
    """Whether llama.cpp is there to load a GGUF: some platforms have no wheel of xllamacpp."""
    return find_spec("xllamacpp") is not None


@dataclass(frozen=True)
class Completion:
    """An answer: its text without the token that ended it, and the ids of the tokens that were generated."""

    text: str
    tokens: list[int]
    stopped: bool
    """Ended by itself (end of turn or a stop text), not by the length allowed."""
    prompt_tokens: int


class Engine:
    """A loaded GGUF; a context manager, `close` gives the memory back.

    Raises ConversionError when it doesn't load or takes longer than the file's size allows. So do its methods, when
    llama.cpp refuses (a prompt longer than `context`, in tokens) or dies, or an answer takes longer than
    `answer_seconds` and a sixtieth of that for each token.
    """

    def __init__(
        self,
        gguf: Path,
        *,
        context: int = 2048,
        threads: int | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        import requests

        head = gguf_head(gguf)
        self.vocabulary = len(head.get("tokenizer.ggml.tokens", []))
        parameters: dict[str, Any] = {
            "n_ctx": context,
            "n_parallel": 1,
            "cpuparams.n_threads": threads or max(1, (os.cpu_count() or 2) // 2),
            "fit_params": False,
            "warmup": False,
            "cache_ram_mib": 0,
            # attention in half precision would hide how exactly the GGUF keeps the trained weights
            "flash_attn_type": "LLAMA_FLASH_ATTN_TYPE_DISABLED",
            "cache_type_k": "GGML_TYPE_F32",
            "cache_type_v": "GGML_TYPE_F32",
            "ui": False,
        }
        try:
            self._server = LlamaServer(gguf, **parameters)
        except Hangs as error:
            raise _hangs(gguf, error) from error
        except RuntimeError as error:
            raise _failed(gguf, error) from error
        self._gguf, self._answer_seconds = gguf, answer_seconds
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between us and ourselves

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unload the model."""
        self._session.close()
        self._server.close()

    def tokenize(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        """Token ids of `text`; `add_special` adds BOS as the tokenizer does, `parse_special` reads special tokens."""
        asked = {"content": text, "add_special": add_special, "parse_special": parse_special}
        return list(self._post("/tokenize", asked)["tokens"])

    def apply_template(self, messages: list[dict[str, str]]) -> str:
        """The prompt that the GGUF's own chat template makes of `messages`, generation prompt included."""
        return str(self._post("/apply-template", {"messages": messages})["prompt"])

    def complete(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.0,
        repeat_penalty: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        **sampling: float,
    ) -> Completion:
        """Go on with `prompt`: token ids, or text that is tokenized with special tokens (BOS where it is added).

        `sampling` are further parameters of SAMPLING; the same `seed`, from 0 to 2**32 - 2, gives the same answer.
        """
        answer = self._post(
            "/completion",
            {
                "prompt": prompt if isinstance(prompt, str) else list(prompt),
                "n_predict": max_tokens,
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "min_p": min_p,
                "repeat_penalty": repeat_penalty,
                **sampling,
                "seed": seed,
                "stop": list(stop),
                "cache_prompt": False,
                "return_tokens": True,
            },
        )
        return _completion(answer, answer["content"], answer["tokens"])

    def stream(
        self,
        prompt: str,
        heard: Callable[[str], None],
        *,
        max_tokens: int,
        seed: int,
        stop: Sequence[str] = (),
        **sampling: float,
    ) -> Completion:
        """As `complete`, with each piece of the answer told to `heard` as it comes; whatever `heard` raises ends it.

        `sampling`: parameters by llama.cpp's names (temperature, top_k, min_p, repeat_last_n, ...). -1 tokens are as
        many as the context holds. What the prompt has in common with the one before isn't computed again.
        """
        asked = {"prompt": prompt, "n_predict": max_tokens, "seed": seed, "stop": list(stop), **sampling}
        asked |= {"cache_prompt": True, "return_tokens": True, "stream": True}
        text, tokens = "", list[int]()
        for event in self._events("/completion", asked):
            tokens += event.get("tokens", [])
            if piece := event.get("content", ""):
                text += piece
                heard(piece)
            if event.get("stop"):
                return _completion(event, text, tokens)
        raise _failed(self._gguf, self._server.end())

    def chat(self, messages: list[dict[str, str]], *, max_tokens: int = 512, **options: Any) -> Completion:
        """The answer to `messages`, by the GGUF's own chat template; options as in `complete`."""
        prompt = self.apply_template(messages)
        ids = self.tokenize(prompt, add_special=False)
        bos = self.tokenize("", add_special=True)
        # a template that writes the BOS text itself doesn't get a second one
        return self.complete(ids if ids[: len(bos)] == bos else bos + ids, max_tokens=max_tokens, **options)

    def logprobs(self, prompt: str | Sequence[int]) -> list[float]:
        """Natural log of the next token's probability for every id of the vocabulary, at temperature 1."""
        # The server tells no probabilities with an end token or half a character: it is made to write a letter. The
        # probabilities are those before that bias.
        letter = self.tokenize("a", add_special=False)[-1]
        answer = self._post(
            "/completion",
            {
                "prompt": prompt if isinstance(prompt, str) else list(prompt),
                "n_predict": 1,
                "temperature": 0.0,
                "n_probs": self.vocabulary,
                "logit_bias": [[letter, 1e6]],
                "cache_prompt": False,
            },
        )
        found = [-math.inf] * self.vocabulary
        for entry in answer["completion_probabilities"][0]["top_logprobs"]:
            found[entry["id"]] = entry["logprob"]
        return found

    def greedy(self, prompt: str, max_tokens: int) -> Greedy:
        """How the model goes on with `prompt` where it always takes the likeliest token, and how likely each was."""
        answer = self._post(
            "/completion",
            {
                "prompt": prompt,
                "n_predict": max_tokens,
                "temperature": 0.0,
                "repeat_penalty": 1.0,
                "n_probs": 2,
                "cache_prompt": False,
                "return_tokens": True,
            },
        )
        told = answer.get("completion_probabilities", [])
        found = list(tokens_of(told))
        # a token that ends inside a character is told with the one that completes it, and as likely as that alone
        ids = iter(answer["tokens"])
        for at, one in enumerate(told):
            if next(ids, None) != one["id"]:
                found[at] = replace(found[at], gap=None)
                while next(ids, one["id"]) != one["id"]:
                    pass
        if answer["stop_type"] == "eos":
            found[-1:] = [Token(None, found[-1].logprob, found[-1].gap)]
        return Greedy(prompt, tuple(found), answer["tokens_evaluated"])

    def _events(self, path: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer; who stops listening ends it."""
        import requests

        try:
            with self._server.within(self._answer_seconds):
                response = self._session.post(self._server.address + path, json=asked, stream=True)
            with closing(response):
                if response.status_code != 200:
                    raise _refused(response.json(), response.text)
                lines = response.iter_lines()
                while True:
                    with self._server.within(self._answer_seconds):
                        line = next(lines, None)
                    if line is None:
                        return
                    kind, _, value = line.partition(b": ")
                    if kind == b"error":
                        raise _refused({"error": json.loads(value)}, value.decode())
                    if kind == b"data":
                        event = json.loads(value)
                        if "error" in event:
                            raise _refused(event, value.decode())
                        yield event
        except Hangs as error:
            raise _hangs(self._gguf, error) from error
        except requests.RequestException as error:
            raise _failed(self._gguf, self._server.end()) from error

    def _post(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        import requests

        try:
            with self._server.within(self._answer_seconds * (1 + asked.get("n_predict", 0) / 60)):
                response = self._session.post(self._server.address + path, json=asked)
        except Hangs as error:
            raise _hangs(self._gguf, error) from error
        except requests.ConnectionError as error:
            raise _failed(self._gguf, self._server.end()) from error
        answer = response.json()
        if response.status_code != 200:
            raise _refused(answer, response.text)
        return dict(answer)


def _completion(last: dict[str, Any], text: str, tokens: list[int]) -> Completion:
    """What was said in all, by the `last` object of it."""
    return Completion(text, tokens, last["stop_type"] in ("eos", "word"), last["tokens_evaluated"])


def _refused(answer: dict[str, Any], text: str) -> ConversionError:
    return ConversionError("error.engine.refused", reason=answer.get("error", {}).get("message", text))


def _failed(gguf: Path, error: RuntimeError) -> ConversionError:
    """What it means that llama.cpp ended instead of loading or answering."""
    if isinstance(error, Unusable):
        return ConversionError("error.engine.unusable", reason=str(error), python=sys.executable)
    if isinstance(error, Died) and was_killed(error.code):
        return ConversionError("error.engine.killed", path=str(gguf))
    if isinstance(error, Died):
        return ConversionError("error.engine.died", path=str(gguf), how=how_ended(error.code), said=str(error) or "-")
    return ConversionError("error.engine.load", path=str(gguf), reason=str(error))


def _hangs(gguf: Path, error: Hangs) -> ConversionError:
    return ConversionError("error.engine.hangs", path=str(gguf), minutes=f"{error.seconds / 60:.2g}")

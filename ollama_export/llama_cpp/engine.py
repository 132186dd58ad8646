"""llama.cpp with a GGUF loaded: answers, and shows what it makes of a prompt."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lora_trainer.errors import ConversionError
from ollama_export.ended import how_ended, was_killed
from ollama_export.gguf.head import gguf_head
from ollama_export.llama_cpp.server import ANSWER_SECONDS, Died, Hangs, LlamaServer, Unusable


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
        repeat_penalty: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Go on with `prompt`: token ids, or text that is tokenized with special tokens (BOS where it is added)."""
        answer = self._post(
            "/completion",
            {
                "prompt": prompt if isinstance(prompt, str) else list(prompt),
                "n_predict": max_tokens,
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "min_p": 0.0,
                "repeat_penalty": repeat_penalty,
                "seed": seed,
                "stop": list(stop),
                "cache_prompt": False,
                "return_tokens": True,
            },
        )
        ended = answer["stop_type"] in ("eos", "word")
        return Completion(answer["content"], answer["tokens"], ended, answer["tokens_evaluated"])

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
            reason = answer.get("error", {}).get("message", response.text)
            raise ConversionError("error.engine.refused", reason=reason)
        return dict(answer)


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

"""Hold a served model against its training: how Ollama renders, in how many tokens, and that it answers and stops."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_trainer.errors import ConversionError
from ollama_export.greedy import Greedy, Parting, Token, parting
from ollama_export.server.client import OllamaClient
from ollama_export.server.transport import Refused

Report = Callable[[str, int, int], None]
"""Hears the task (upload, create, prove, unload) and how much of it is done, of what total (0: unknown)."""
ANSWER_TOKENS = 512
"""Within so many an answer is to end, in llama.cpp and in Ollama alike."""


@dataclass(frozen=True)
class Proof:
    """A conversation, the training prompt that it must become, and how many tokens that is (BOS included)."""

    messages: tuple[Mapping[str, str], ...]
    prompt: str
    tokens: int | None
    """None where it isn't known: the rendering alone is held then."""


@dataclass(frozen=True)
class Finding:
    """What a proof found, as a text key and values; `fatal` ones mean that the model isn't what was trained."""

    key: str
    values: dict[str, Any]
    fatal: bool = True

    @property
    def is_endless(self) -> bool:
        """An answer that did not end by itself: the same, whichever way a server has to say it."""
        return self.key.rpartition(".")[2] in ("endless", "repeats")

    @property
    def is_other_form(self) -> bool:
        """The same model, kept otherwise than it was published."""
        return self.key == "note.proof.other_form"

    @property
    def hides_weights(self) -> bool:
        """With it a model isn't known by what it says."""
        return self.key in ("error.proof.greedy", "note.proof.unheard", "note.proof.only_words")


class ProofFailed(ConversionError):
    """A model in Ollama is not what was trained; `findings` has all that was found."""

    def __init__(self, findings: list[Finding]) -> None:
        first = next(finding for finding in findings if finding.fatal)
        super().__init__(first.key, **first.values)
        self.findings = findings


def report_nothing(task: str, done: int, total: int) -> None:
    """Tell nobody."""


def prove(client: OllamaClient, name: str, proofs: Sequence[Proof], **how: Any) -> list[Finding]:
    """Examine a model (`how` as there) and raise ProofFailed where something found is fatal."""
    findings = examine(client, name, proofs, **how)
    if any(finding.fatal for finding in findings):
        raise ProofFailed(findings)
    return findings


def examine(
    client: OllamaClient,
    name: str,
    proofs: Sequence[Proof],
    *,
    strict: bool = True,
    must_stop: bool = True,
    answer_tokens: int = ANSWER_TOKENS,
    greedy: Sequence[Greedy] = (),
    report: Report = report_nothing,
) -> list[Finding]:
    """What differs from the training: how the model renders each conversation, in how many tokens, whether it answers
    the first one and stops within `answer_tokens`, and whether it goes on with prompts as llama.cpp heard it do.

    Another rendering is fatal when `strict`, an answer without an end when it `must_stop`. An Ollama too old to render
    without answering is noted; the token counts must do then. Raises Refused where the model can't be loaded.
    """
    findings: list[Finding] = []
    report("unload", 0, 0)
    client.unload(name)  # a runner of the same weights may render in another mode
    renders = True
    for number, proof in enumerate(proofs, 1):
        report("prove", number - 1, len(proofs))
        rendered = client.rendered(name, proof.messages) if renders else None
        renders = rendered is not None
        if rendered is not None and rendered != proof.prompt:
            at, expected, got = _difference(proof.prompt, rendered)
            values: dict[str, Any] = {"number": number, "at": at, "expected": expected, "got": got}
            if renderer := _renderer(client, name):
                findings.append(Finding("error.proof.renderer", {"renderer": renderer, **values}, strict))
            else:
                findings.append(Finding("error.proof.rendered", values, strict))
        tokens = _prompt_tokens(client, name, proof, rendered) if proof.tokens is not None else None
        if tokens is None and proof.tokens is not None:
            findings.append(Finding("note.proof.no_count", {"number": number}, fatal=False))
        elif tokens != proof.tokens:
            values = {"number": number, "expected": proof.tokens, "got": tokens}
            findings.append(Finding("error.proof.tokens", values, strict))
    if proofs:
        if not renders:
            findings.append(Finding("note.publish.no_render", {"version": client.version()}, fatal=False))
        answer = client.chat(name, proofs[0].messages, num_predict=answer_tokens, temperature=0, seed=1)
        if not answer.stopped:
            if answer.repeats:
                findings.append(Finding("error.proof.repeats", {}, must_stop))
            else:
                values = {"tokens": answer.tokens or answer_tokens, "text": (answer.thought + answer.text)[:80]}
                findings.append(Finding("error.proof.endless", values, must_stop))
        elif not (answer.thought + answer.text).strip():
            findings.append(Finding("error.proof.silent", {}, must_stop))
        report("prove", len(proofs), len(proofs))
    findings += _heard(client, name, greedy)
    report("unload", 0, 0)
    client.unload(name)
    return findings


def is_held(findings: Sequence[Finding], greedy: Sequence[Greedy]) -> bool:
    """Whether a model that was examined is known by what it says."""
    return bool(greedy) and not any(finding.hides_weights for finding in findings)


def _heard(client: OllamaClient, name: str, greedy: Sequence[Greedy]) -> list[Finding]:
    """Where a model goes on with a prompt otherwise than it was known to, and what of that can't be seen."""
    findings: list[Finding] = []
    only_words = False
    for number, known in enumerate(greedy, 1):
        found = client.greedy(name, known)
        whole = found.prompt_tokens in (None, known.prompt_tokens)
        if whole and (apart := parting(known, found)):
            findings.append(Finding("error.proof.greedy", {"number": number, **as_said(apart)}))
        if not whole or not found.tokens:
            findings.append(Finding("note.proof.unheard", {"number": number}, fatal=False))
        elif not found.tells_probabilities:
            only_words = True
    if only_words:
        findings.append(Finding("note.proof.only_words", {"version": client.version()}, fatal=False))
    return findings


def as_said(apart: Parting) -> dict[str, Any]:
    """Where two models part, in words: the place, and for each what it says there and how likely that was."""
    return {"at": apart.at, "expected": _said(apart.known), "got": _said(apart.found)}


def _said(token: Token) -> str:
    said = "∎" if token.text is None else json.dumps(token.text, ensure_ascii=False)
    return said if token.logprob is None else f"{said} ({math.exp(token.logprob):.1%})"


def _prompt_tokens(client: OllamaClient, name: str, proof: Proof, rendered: str | None) -> int | None:
    """How many tokens Ollama makes of a conversation, which it has `rendered`; None where it doesn't say.

    An answer whose bytes are no text is broken off, and told without counts: another one may do.
    """
    ways: list[dict[str, Any]] = [{"temperature": 0}, *({"temperature": 1.0, "seed": seed} for seed in (1, 2, 3))]
    for options in ways:
        tokens = client.chat(name, proof.messages, num_predict=1, **options).prompt_tokens
        if tokens is not None:
            return tokens
    return None if rendered is None else client.generate(name, rendered, raw=True, num_predict=1).prompt_tokens


def _renderer(client: OllamaClient, name: str) -> str:
    """The renderer that Ollama has for this family of models, which goes before every TEMPLATE; empty without one."""
    found = re.search(r"^RENDERER (.+)$", str(client.show(name).get("modelfile", "")), re.MULTILINE)
    return found[1].strip().strip('"') if found else ""


def verify(
    client: OllamaClient,
    name: str,
    proofs: Sequence[Proof],
    *,
    digest: str | None,
    differing: Callable[[], Sequence[str]] = lambda: ("?",),
    greedy: Sequence[Greedy] = (),
    **how: Any,
) -> list[Finding]:
    """Examine a published model (`how` as there); `digest` is the manifest's in the run record.

    Where that is another one, `differing` tells which parts of the model are (words of a Modelfile; FROM where its
    weights aren't known by their digest). Later Ollamas keep some models in a form of their own, under other digests:
    where all else is as it was, the weights are held by what the model says, and that is noted. Without anything fatal
    it is what was published, and this Ollama serves it as trained. Raises Refused for a missing model.
    """
    if not client.exists(name):
        raise Refused("error.ollama.model_missing", 404, host=client.host, name=name)
    findings = examine(client, name, proofs, greedy=greedy, **how)
    # asked only now: it may have been converted when it was loaded
    current = client.digest(name) or ""
    if digest is not None and current != digest:
        parts = list(differing())
        same = not parts or (parts == ["FROM"] and is_held(findings, greedy))
        values = {"name": name, "expected": digest[:12], "got": current[:12]}
        if same:
            findings.insert(0, Finding("note.proof.other_form", values, fatal=False))
        else:
            findings.insert(0, Finding("error.proof.digest", {**values, "what": ", ".join(parts)}))
    return findings


def _difference(expected: str, got: str) -> tuple[int, str, str]:
    """The first place where two prompts part, and what is around it in each, as JSON strings."""
    pairs = enumerate(zip(expected, got, strict=False))
    at = next((place for place, (one, other) in pairs if one != other), min(len(expected), len(got)))
    around = slice(max(0, at - 20), at + 40)
    return at, json.dumps(expected[around], ensure_ascii=False), json.dumps(got[around], ensure_ascii=False)

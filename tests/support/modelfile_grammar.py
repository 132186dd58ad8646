"""What Ollama's `create -f` reads out of a Modelfile: the rules of its parser/parser.go, strictly."""

from __future__ import annotations

from typing import Any

COMMANDS = {"from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message",
            "requires"}  # fmt: skip
INTEGERS = {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed", "num_predict", "top_k",
            "repeat_last_n", "draft_num_predict"}  # fmt: skip
FLOATS = {"temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"}


class GrammarError(Exception):
    """The parser refuses the text."""


def parse(text: str) -> list[tuple[str, str]]:
    """The commands with their values, parameters under their own names; raises GrammarError."""
    commands: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
        elif text[at] == "#":
            while at < len(text) and text[at] not in "\r\n":
                at += 1
        else:
            name, at = _word(text, at, _is_letter)
            if name.lower() not in COMMANDS:
                raise GrammarError(f"unknown command {name!r}")
            name = name.lower()
            if name == "parameter":
                name, at = _word(text, at, lambda c: _is_letter(c) or c in "0123456789_")
            elif name == "message":
                raise GrammarError("MESSAGE is not ours to write")
            value, at = _value(text, at)
            commands.append((name, value))
    if not any(name == "from" for name, _ in commands):
        raise GrammarError("no FROM line")
    return commands


def create_request(text: str) -> dict[str, Any]:
    """What the command line client asks /api/create for: the last SYSTEM and TEMPLATE, typed parameters."""
    request: dict[str, Any] = {"parameters": {}}
    for name, value in parse(text):
        if name in ("from", "template", "system"):
            request[name] = value
        elif name == "stop":
            request["parameters"].setdefault("stop", []).append(value)
        elif name in INTEGERS or name in FLOATS:
            request["parameters"][name] = int(value) if name in INTEGERS else float(value)
        elif name == "use_mmap" and value in ("true", "false"):
            request["parameters"][name] = value == "true"
        else:
            raise GrammarError(f"unknown parameter {name}")
    return request


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _word(text: str, at: int, allowed: Any) -> tuple[str, int]:
    start = at
    while at < len(text) and allowed(text[at]):
        at += 1
    if at == len(text) or text[at] not in " \t":
        raise GrammarError(f"unexpected end of {text[start:at]!r}")
    return text[start:at], at + 1


def _value(text: str, at: int) -> tuple[str, int]:
    """A value ends at the first newline at which what came so far is whole; non-printing characters are lost."""
    held = ""
    for place in range(at, len(text)):
        character = text[place]
        if character in "\r\n" and (whole := _unquoted(held)) is not None:
            return whole, place + 1
        if character in " \t\r\n" or character.isprintable():
            held += character
    whole = _unquoted(held)
    if whole is None:
        raise GrammarError(f"unexpected EOF: {held!r}")
    return whole, len(text)


def _unquoted(held: str) -> str | None:
    held = held.strip(" \t\r\n")
    for quote in ('"""', '"'):
        if held.startswith(quote):
            whole = len(held) >= 2 * len(quote) and held.endswith(quote)
            return held[len(quote) : -len(quote)] if whole else None
    return held

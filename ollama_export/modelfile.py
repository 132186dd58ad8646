"""The Modelfile as text, within what Ollama's parser (parser/parser.go) can read back exactly.

That grammar knows no escapes: it drops every character that Go calls non-printing (the ideographic space, the joiner
inside emoji), and a line that ends in three quotes ends the value. What a TEMPLATE can't hold as it is becomes a quoted
constant there; what a SYSTEM can't hold is said through the TEMPLATE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TRIPLE = '"""'
_ACTION = re.compile(r'(\{\{(?:"(?:\\.|[^"\\])*"|`[^`]*`|[^"`])*?\}\})', re.DOTALL)
_IN_ACTION = re.compile(r'("(?:\\.|[^"\\])*"|`[^`]*`)|\$?\.System\b', re.DOTALL)


@dataclass(frozen=True)
class Modelfile:
    """The text, and the text keys and values of what a reader should know about it."""

    text: str
    notes: tuple[tuple[str, dict[str, Any]], ...] = ()


def modelfile(
    gguf: str,
    *,
    template: str | None = None,
    system: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    license: Sequence[str] = (),
    messages: Sequence[Mapping[str, str]] = (),
) -> Modelfile:
    """Write the Modelfile for the file named `gguf` in the same folder; a list among the parameters repeats its name.

    `ollama create NAME -f Modelfile` makes the same model as the API does of the same values, but for what the notes
    say. Raises ValueError for a file name, a parameter's name or a stop text that the grammar can't express.
    """
    notes: list[tuple[str, dict[str, Any]]] = []
    if system and not _is_sayable(system):
        values = {"characters": " ".join(sorted({f"U+{ord(c):04X}" for c in system if not _is_kept(c)})) or _TRIPLE}
        if template and ".Messages" in template and re.search(r"\{\{[^}]*\.System\b", template):
            template, system = _with_system(template, system), None
            notes.append(("note.modelfile.system_in_template", values))
        else:
            system = _approximate(system)
            notes.append(("note.modelfile.system_changed", values))
    if not _is_sayable(gguf) or not re.fullmatch(r"[^/\\\r\n]*[^/\\\s]", gguf):
        raise ValueError(f"no plain file name: {gguf!r}")
    parts = [f"FROM ./{gguf}"]
    if template:
        parts.append(f"TEMPLATE {_TRIPLE}{_sayable_template(template)}{_TRIPLE}")
    if system:
        parts.append(f"SYSTEM {_TRIPLE}{system}{_TRIPLE}")
    for name, value in (parameters or {}).items():
        parts += [_parameter(name, one) for one in (value if isinstance(value, list | tuple) else [value])]
    parts += [f"LICENSE {_TRIPLE}{_approximate(text)}{_TRIPLE}" for text in license]
    parts += [f"MESSAGE {m['role']} {_TRIPLE}{_approximate(m['content'])}{_TRIPLE}" for m in messages]
    return Modelfile("\n".join(parts) + "\n", tuple(notes))


def _parameter(name: str, value: Any) -> str:
    if isinstance(value, str):
        text = f"{_TRIPLE}{value}{_TRIPLE}" if '"' in value else f'"{value}"'
    else:
        text = str(value).lower()
    if not re.fullmatch(r"[A-Za-z0-9_]+", name) or "\n" in text or not _is_sayable(text):
        raise ValueError(f"a Modelfile can't express {name} {value!r}")
    return f"PARAMETER {name} {text}"


def _is_kept(character: str) -> bool:
    """Does the parser keep it? Go's strconv.IsPrint has Python's definition; white space between values is apart."""
    return character.isprintable() or character in "\t\r\n"


def _is_sayable(text: str) -> bool:
    lines = re.split(r"[\r\n]", text)[:-1]
    return all(map(_is_kept, text)) and not any(line.rstrip().endswith(_TRIPLE) for line in lines)


def _approximate(text: str) -> str:
    """The nearest text that the grammar holds."""
    kept = "".join(c if _is_kept(c) else " " if c.isspace() else "" for c in text)
    return re.sub(r'"""(?=[ \t]*[\r\n])', "'''", kept)


def _go_escapes(text: str) -> str:
    """`text` inside an interpreted string literal of the Go specification."""
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(short.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text)


def _with_system(template: str, system: str) -> str:
    """The template with a system prompt of its own, which one from the request replaces."""

    def renamed(action: str) -> str:
        return _IN_ACTION.sub(lambda found: found[1] or "$system", action)

    parts = _ACTION.split(template)
    body = "".join(renamed(part) if number % 2 else part for number, part in enumerate(parts))
    return f'{{{{ $system := or .System "{_go_escapes(system)}" }}}}{body}'


def _constant(found: re.Match[str]) -> str:
    return found[0] if _is_kept(found[0][-1]) else f'{{{{ "{_go_escapes(found[0])}" }}}}'


def _sayable_template(template: str) -> str:
    """The same template with what the grammar would change written as constants."""
    parts = _ACTION.split(template)
    for number in range(0, len(parts), 2):
        constants = re.sub(r'"""(?=[ \t]*[\r\n])', '""{{ "\\\\"" }}', parts[number])
        # A brace just before an action would become part of its opening.
        parts[number] = re.sub(r"\{?.", _constant, constants, flags=re.DOTALL)
    for number in range(1, len(parts), 2):
        parts[number] = "".join(c if _is_kept(c) else _go_escapes(c) for c in parts[number])
    text = "".join(parts)
    if not _is_sayable(text):
        raise ValueError(f"a Modelfile can't express the template {template!r}")
    return text

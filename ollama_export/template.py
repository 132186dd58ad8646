"""A ChatFormat's two twins: Ollama's Go TEMPLATE and the GGUF's Jinja chat_template.

Both render every conversation exactly as ChatFormat.render does. All constants are written as quoted strings, so that
neither white space nor braces nor the Modelfile's own grammar can change them. The Jinja twin must not look as if it
offered tools or thinking: Ollama (server/images.go) would then prefer it to the TEMPLATE and think by default.

`python -m ollama_export.template FILE.jinja … [--bos TEXT] [--eos TEXT]` judges chat templates from the shell.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from lora_trainer.chat_format import ChatFormat, find_chat_format
from lora_trainer.errors import BaseModelError

# What server/images.go looks for in a Jinja template; a constant that contains one is written in two pieces.
_TELLTALES = re.compile("(?<=tool)(?=s|_call)|(?<=<)(?=/?think>)")


def ollama_template(chat_format: ChatFormat) -> str:
    """The TEMPLATE for a Modelfile, in Go's text/template, one line, ASCII.

    Ollama hands over `.System` (all system messages joined) and `.Messages` (the system messages among them), which
    is why roles are asked for one by one.
    """
    f = chat_format
    own = f.system_place == "own"
    opening = _go(f.opening) + ("{{ .System }}" + _go(f.system_after) if own else "")
    head = _go(f.printed_bos) + _either("{{ if .System }}", opening, _go(f.opening_without_system))
    system = f"{_go(f.system_before)}{{{{ $.System }}}}{_go(f.system_after)}"
    user = f"{_go(f.user_before)}%s{{{{ .Content }}}}{_go(f.user_after)}"
    if own:
        user %= ""
    elif f.system_place == "first_user":
        head += "{{ $first := true }}"
        user %= f"{{{{ if and $.System $first }}}}{system}{{{{ end }}}}{{{{ $first = false }}}}"
    else:
        head += "{{ $last := -1 }}{{ range $i, $_ := .Messages }}"
        head += '{{ if eq .Role "user" }}{{ $last = $i }}{{ end }}{{ end }}'
        user %= f"{{{{ if and $.System (eq $i $last) }}}}{system}{{{{ end }}}}"
    assistant = f"{_go(f.assistant_before)}{_tags(f)}{{{{ .Content }}}}{_go(f.assistant_after)}"
    turns = f'{{{{ if eq .Role "user" }}}}{user}{{{{ else if eq .Role "assistant" }}}}{assistant}{{{{ end }}}}'
    return f"{head}{{{{ range $i, $_ := .Messages }}}}{turns}{{{{ end }}}}{_go(f.generation_prompt)}"


def gguf_chat_template(chat_format: ChatFormat) -> str:
    """The `tokenizer.chat_template` for the GGUF, in Jinja, one line, ASCII."""
    f = chat_format
    own = f.system_place == "own"
    first = "messages[0]"
    head = f"{{% set system = {first}['content'] if {first}['role'] == 'system' else '' %}}" + _jinja(f.printed_bos)
    opening = _jinja(f.opening) + ("{{ system }}" + _jinja(f.system_after) if own else "")
    head += _either("{% if system %}", opening, _jinja(f.opening_without_system), "{% else %}", "{% endif %}")
    system = f"{_jinja(f.system_before)}{{{{ system }}}}{_jinja(f.system_after)}"
    user = f"{_jinja(f.user_before)}%s{{{{ m['content'] }}}}{_jinja(f.user_after)}"
    if own:
        user %= ""
    else:
        wanted = "m['role'] == 'user'" + (" and ns.user < 0" if f.system_place == "first_user" else "")
        head += "{% set ns = namespace(user=-1) %}{% for m in messages %}"
        head += f"{{% if {wanted} %}}{{% set ns.user = loop.index0 %}}{{% endif %}}{{% endfor %}}"
        user %= f"{{% if system and loop.index0 == ns.user %}}{system}{{% endif %}}"
    assistant = f"{_jinja(f.assistant_before)}{{{{ m['content'] }}}}{_jinja(f.assistant_after)}"
    turns = f"{{% if m['role'] == 'user' %}}{user}{{% elif m['role'] == 'assistant' %}}{assistant}{{% endif %}}"
    end = f"{{% if add_generation_prompt %}}{_jinja(f.generation_prompt)}{{% endif %}}" if f.generation_prompt else ""
    return f"{head}{{% for m in messages %}}{turns}{{% endfor %}}{end}"


def _tags(f: ChatFormat) -> str:
    """What tells Ollama between which texts a thought stands, so that it hands it over apart from the answer.

    It looks for `.Thinking` between two texts in a range over `.Messages` (thinking/template.go); earlier thoughts are
    no part of a prompt, so that nothing is ever printed here.
    """
    if not f.thinks:
        return ""
    opening, closing = f.thought_tags
    return f"{{{{ if and false .Thinking }}}}{opening}{{{{ .Thinking }}}}{closing}{{{{ end }}}}"


def _either(condition: str, yes: str, no: str, otherwise: str = "{{ else }}", end: str = "{{ end }}") -> str:
    """A branch; its text alone where both sides are the same."""
    return yes if yes == no else f"{condition}{yes}{otherwise if no else ''}{no}{end}"


def _go(text: str) -> str:
    """An action that prints `text`: an interpreted string literal of the Go specification."""
    return f"{{{{ {_quoted(text, 'U')} }}}}" if text else ""


def _jinja(text: str) -> str:
    """An expression that prints `text`; string literals escape as in Python."""
    pieces = [_quoted(piece, None) for piece in _TELLTALES.split(text)]
    return f"{{{{ {' ~ '.join(pieces)} }}}}" if text else ""


def _quoted(text: str, wide: str | None) -> str:
    """A double-quoted literal. `wide` 'U': all but printable ASCII is escaped; None: only what a literal can't hold."""
    escaped = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            escaped.append("\\" + character)
        elif character in "\n\t\r":
            escaped.append({"\n": "\\n", "\t": "\\t", "\r": "\\r"}[character])
        elif wide and not 0x20 <= code < 0x7F:
            escaped.append(f"\\u{code:04x}" if code < 0x10000 else f"\\{wide}{code:08x}")
        else:
            escaped.append(character)
    return f'"{"".join(escaped)}"'


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON object for each template file; 0 when all are proven, else 6."""
    import argparse
    import json
    from pathlib import Path

    parser = argparse.ArgumentParser(prog="python -m ollama_export.template", description=main.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE.jinja")
    parser.add_argument("--bos", default="<s>", metavar="TEXT", help="text of the BOS token (default: %(default)s)")
    parser.add_argument("--eos", default="</s>", metavar="TEXT", help="text of the EOS token (default: %(default)s)")
    options = parser.parse_args(arguments)
    proven = True
    for file in options.files:
        row: dict[str, object] = {"file": file, "proven": True, "reason": None}
        try:
            found = find_chat_format(Path(file).read_text(encoding="utf-8"), bos=options.bos, eos=options.eos)
            row["format"] = found.to_json()
            row["ollama_template"] = ollama_template(found)
            row["gguf_chat_template"] = gguf_chat_template(found)
        except (BaseModelError, OSError, UnicodeDecodeError) as error:
            row |= {"proven": False, "reason": str(error), "format": None}
            row |= {"ollama_template": None, "gguf_chat_template": None}
            proven = False
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    return 0 if proven else BaseModelError.exit_code


if __name__ == "__main__":
    sys.exit(main())

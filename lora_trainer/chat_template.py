"""A base model's Jinja chat template, run as transformers runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lora_trainer.errors import BaseModelError

# Private-use characters: no template prints them, and none falls apart when a common prefix is cut.
BOS, EOS, SYSTEM, _REASONING = "\ue000", "\ue001", "\ue002", "\ue003"
MARKS = [chr(0xE010 + i) for i in range(8)]

FROZEN_DATE = datetime(2024, 7, 26)
"""What a template that prints today's date gets: a prompt that changes daily is never the training prompt."""

SWITCHES = ("enable_thinking", "thinking")
"""The switches that templates have: most families took over Qwen's name for it, Granite has the other."""

OPEN_THOUGHT = re.compile(r"(<|\[)(think|thinking|thought|reasoning|THINK)(>|\])\s*$")

_EMPTY_THOUGHT = re.compile(r"((?:<|\[)\w+(?:>|\])\n?)(\n?(?:<|\[)/\w+(?:>|\])\s*)")


class Template:
    """A Jinja chat template, run as transformers runs it, with thinking off (or on) and the date frozen.

    Raises BaseModelError where Jinja can't compile it.
    """

    def __init__(self, source: str, *, thinking: bool = False) -> None:
        self._template = _compile(source)
        self._thinking = thinking
        self._variables: dict[str, Any] = {}
        self._variables = self._needed_variables(source)
        self.knows_system = self._knows_system()

    def __call__(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """Render; raises BaseModelError where the template refuses."""
        try:
            return self._run(messages, add_generation_prompt)
        except Exception as error:  # a template is a foreign program: it may raise anything
            raise BaseModelError("error.format.template", reason=f"{type(error).__name__}: {error}") from error

    def reference(self, conversation: Sequence[Mapping[str, Any]], bos: str, eos: str) -> str:
        """The prompt that a conversation becomes, with the real texts of BOS and EOS.

        A thought that it opens is closed, where thinking is off. Raises BaseModelError where the template refuses.
        """
        text = self(conversation)
        return text.replace(EOS, eos).replace(BOS, bos) + self.closing_of_thought(text)

    def closing_of_thought(self, prompt: str) -> str:
        """What closes a thought that the generation prompt opens, as this family closes it.

        "" where none is open, or thinking is on.
        """
        opened = OPEN_THOUGHT.search(prompt)
        if not opened or self._thinking:
            return ""
        return self._known_closing(opened) or ("" if opened.group().endswith("\n") else "\n") + _closing(opened)

    def around_thought(self, prompt: str) -> tuple[str, str]:
        """What a model writes before its thought, behind a generation prompt `prompt`, and between it and the answer.

        Raises BaseModelError where the template knows no thoughts.
        """
        opened = OPEN_THOUGHT.search(prompt)
        if opened:
            before = "" if opened.group().endswith("\n") else "\n"
            return before, self._known_closing(opened) or _closing(opened)
        shown = self._shown_thought()
        place = shown.find(_REASONING)
        begins = shown.find(prompt, 0, max(place, 0))
        if begins >= 0 and MARKS[1] in shown[place:]:
            return shown[begins + len(prompt) : place], between(shown, _REASONING, MARKS[1])
        # a family that shows no thought may still write an empty one where thinking is off
        closed = self._run(turns_of(MARKS[0]), True, thinking=False)
        empty = _EMPTY_THOUGHT.fullmatch(closed[closed.rfind(prompt) + len(prompt) :]) if prompt in closed else None
        if empty is None:
            raise BaseModelError("error.format.no_thoughts")
        return empty[1], empty[2]

    def _known_closing(self, opened: re.Match[str]) -> str:
        """What this family closes an `opened` thought with; "" where its template doesn't show that."""
        shown = self._shown_thought()
        asked = between(shown, _REASONING, MARKS[1]) if _REASONING in shown and MARKS[1] in shown else ""
        return asked if f"/{opened[2]}" in asked else ""

    def _shown_thought(self) -> str:
        """A conversation whose answer has a thought; "" where there is no way to ask."""
        try:
            answer = {"role": "assistant", "content": MARKS[1], "reasoning_content": _REASONING}
            return self._run([{"role": "user", "content": MARKS[0]}, answer], False)
        except Exception:  # a foreign program may raise anything; the common way of closing stands
            return ""

    def _run(
        self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, *, thinking: bool | None = None
    ) -> str:
        switches = dict.fromkeys(SWITCHES, self._thinking if thinking is None else thinking)
        variables = {"tools": None, "documents": None, **switches, **self._variables}
        return self._template.render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            bos_token=BOS,
            eos_token=EOS,
            **variables,
        )

    def _needed_variables(self, source: str) -> dict[str, Any]:
        """Empty values for what a template asks for that nobody passes; none where it runs without."""
        from jinja2 import meta

        undeclared = meta.find_undeclared_variables(self._template.environment.parse(source))
        given = {"messages", "add_generation_prompt", "bos_token", "eos_token", *SWITCHES}
        others = dict.fromkeys(undeclared - given - set(self._template.environment.globals), "")
        lists: dict[str, Any] = {"tools": [], "documents": []}
        for variables in ({}, lists, {**others, **lists}, {**dict.fromkeys(others, ()), **lists}):
            self._variables = variables
            try:
                self._run(turns_of(*MARKS[:3]), True)
            except Exception:  # the next, larger set of variables may do; the last failure is told by __call__
                continue
            return variables
        return {}

    def _knows_system(self) -> bool:
        try:
            return SYSTEM in self._run(turns_of(MARKS[0], system=SYSTEM), True)
        except Exception:  # 'System role not supported' is what several families raise
            return False


def _compile(source: str) -> Any:
    """A compiled template; filters, globals and whitespace rules as in transformers' chat_template_utils."""
    import jinja2
    from jinja2 import ext, nodes, sandbox

    class Generation(ext.Extension):
        """{% generation %} … {% endgeneration %} only marks text for training: it prints what is inside."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception, strftime_now=FROZEN_DATE.strftime)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise BaseModelError("error.format.template", reason=str(error)) from error


def _closing(opened: re.Match[str]) -> str:
    """The common way to close an `opened` thought."""
    bracket, name, end = opened.groups()
    return f"\n{bracket}/{name}{end}\n\n"


def turns_of(*contents: str, system: str = "") -> list[dict[str, str]]:
    """User and assistant turns in alternation, the system prompt before them where there is one."""
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def between(text: str, left: str, right: str) -> str:
    """What stands between two marks; raises BaseModelError where a mark is missing or out of order."""
    start, end = text.find(left), text.find(right)
    if not 0 <= start < end:
        raise BaseModelError("error.format.unexplained", conversation=repr(text))
    return text[start + 1 : end]

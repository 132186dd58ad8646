"""ChatFormat: how a model family writes a conversation, as constant strings.

One object says how the training prompt is built, how Ollama's TEMPLATE and the GGUF's chat_template build it, and
what is expected when a published model is asked to render. It is found by asking: conversations of marks are rendered
through the base model's own Jinja template, what stands around the marks is read off, and the result is proven by
rendering test conversations both ways.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from lora_trainer.errors import BaseModelError

Message = dict[str, str]
"""`role` (system, user or assistant) and `content`."""

FROZEN_DATE = datetime(2024, 7, 26)
"""What a template that prints today's date gets: a prompt that changes daily is never the training prompt."""

THINKING_OFF = {"enable_thinking": False, "thinking": False}

# Private-use characters: no template prints them, and none falls apart when a common prefix is cut.
_BOS, _EOS, _SYSTEM, _REASONING = "\ue000", "\ue001", "\ue002", "\ue003"
_MARKS = [chr(0xE010 + i) for i in range(8)]

_TOKEN = re.compile(r"<\|?[^<>\s]+\|?>|\[/?[A-Z_]+\]|<｜[^<>]+｜>")
_OPEN_TOKEN = re.compile(r"(?:<[^<>\s]*|\[[A-Z_/]*)$")
_OPEN_THOUGHT = re.compile(r"(<|\[)(think|thinking|thought|reasoning|THINK)(>|\])\s*$")

PROOF_CONVERSATIONS: tuple[tuple[Message, ...], ...] = tuple(
    tuple({"role": role, "content": text} for role, text in turns)
    for turns in (
        [("user", "你好，你是谁？")],
        [("system", "你是林栀，说话轻软。"), ("user", "在吗？")],
        [("system", 'Say "yes", {{ never }} {% no %}.'), ("user", "It's 1 < 2 & 3 > 2, isn't it?")],
        [("user", "first\n\nsecond line"), ("assistant", "（点头）嗯……"), ("user", "🙂 {name}")],
        [
            ("system", "You are terse.\nNever explain."),
            ("user", "a"),
            ("assistant", "b\\n \"c\" 'd'"),
            ("user", "`e` $f %g"),
            ("assistant", "{{ .Content }}"),
            ("user", "再见"),
        ],
        [("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5"), ("assistant", "6"),
         ("user", "7")],
    )
)  # fmt: skip
"""What a format is proven on: one to four turns, with and without a system prompt, with awkward characters."""


@dataclass(frozen=True)
class ChatFormat:
    """How a model family writes a conversation, cut into constant strings (without the BOS)."""

    opening: str
    """Before everything else when there is a system prompt; ends where the system prompt begins if it has its own
    turn."""
    opening_without_system: str
    """Before everything else when there is none; a default system prompt stands here."""
    system_place: Literal["own", "first_user", "last_user"]
    """Own turn before the others, or inside the first or the last user turn, before its content."""
    system_before: str
    """Between `user_before` and a system prompt that stands in a user turn; "" where it has its own."""
    system_after: str
    """Between the system prompt and what follows it."""
    user_before: str
    user_after: str
    assistant_before: str
    """Before an earlier answer; the answer to be given has `generation_prompt` in its place."""
    assistant_after: str
    generation_prompt: str
    end_of_turn: str
    """Text of the one token that ends an answer; training teaches it, generation stops at it."""
    bos: str = ""
    """Text of the beginning-of-sequence token where the template prints one."""
    tokenizer_adds_bos: bool = False
    """The tokenizer puts the BOS before every prompt by itself; `render` and the twins then leave its text out."""

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for the next answer, as the server builds it: to the end of the generation prompt.

        `messages`: an optional system message first, then user and assistant turns. An empty system prompt is none.
        """
        system, turns = split_system(messages)
        parts = [self.printed_bos]
        if not system:
            parts.append(self.opening_without_system)
        elif self.system_place == "own":
            parts += [self.opening, system, self.system_after]
        else:
            parts.append(self.opening)
        users = [i for i, message in enumerate(turns) if message["role"] == "user"]
        place = {"own": None, "first_user": users[:1], "last_user": users[-1:]}[self.system_place]
        for i, message in enumerate(turns):
            if message["role"] == "user":
                parts.append(self.user_before)
                if system and place == [i]:
                    parts += [self.system_before, system, self.system_after]
                parts += [message["content"], self.user_after]
            else:
                parts += [self.assistant_before, message["content"], self.assistant_after]
        return "".join([*parts, self.generation_prompt])

    @property
    def printed_bos(self) -> str:
        """The BOS text that a rendered prompt begins with: none where the tokenizer adds the token itself."""
        return "" if self.tokenizer_adds_bos else self.bos

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ChatFormat:
        """Read what `to_json` wrote."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def split_system(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The system prompt ("" where there is none) and the turns behind it."""
    if messages and messages[0]["role"] == "system":
        return messages[0]["content"], list(messages[1:])
    return "", list(messages)


def find_chat_format(
    jinja: str,
    *,
    bos: str = "",
    eos: str = "",
    tokenizer_adds_bos: bool = False,
    special_tokens: Collection[str] = (),
) -> ChatFormat:
    """Read the ChatFormat off a Jinja chat template and prove it.

    `bos` and `eos` are the tokens' texts; `special_tokens` all the tokenizer's special tokens, where it is at hand.
    Raises BaseModelError where the template can't be run, or constant strings don't explain what it writes.
    """
    ask = Template(jinja)
    u1, a1, u2, a2, u3, a3, u4, _ = _MARKS
    turns = _turns(u1, a1, u2, a2, u3, a3, u4)

    plain = ask(turns)
    u1_to_a1, a1_to_u2 = _between(plain, u1, a1), _between(plain, a1, u2)
    prompt_end = plain[plain.index(u4) + 1 :]
    asked_nothing = ask(turns[:1], add_generation_prompt=False)
    user_after = _common_prefix(u1_to_a1, prompt_end, asked_nothing[asked_nothing.index(u1) + 1 :])
    answered = ask(turns[:2], add_generation_prompt=False)
    assistant_after = _common_prefix(a1_to_u2, answered[answered.index(a1) + 1 :] if a1 in answered else a1_to_u2)
    user_before = a1_to_u2[len(assistant_after) :]
    opening_without_system = plain[: plain.index(u1)]
    generation_prompt = prompt_end[len(user_after) :] + ask.closing_of_thought(prompt_end)

    # Where a family has no place for a system prompt, it goes to the first user turn.
    place: Literal["own", "first_user", "last_user"] = "first_user"
    opening, system_before, system_after = opening_without_system, "", "\n\n"
    if ask.knows_system:
        with_system = ask(_turns(u1, a1, u2, a2, u3, system=_SYSTEM))
        before = with_system[: with_system.index(_SYSTEM)]
        if u1 in before:
            place, opening, lead = "last_user", before[: before.index(u1)], _between(with_system, a2, _SYSTEM)
            system_before, system_after = lead[len(a1_to_u2) :], _between(with_system, _SYSTEM, u3)
        elif before.startswith(opening_without_system):
            system_before, system_after = before[len(opening) :], _between(with_system, _SYSTEM, u1)
        else:
            place, opening, system_after = "own", before, _between(with_system, _SYSTEM, u1)

    # A first user turn may be written otherwise than a later one: what they don't share goes to what stands before.
    shared = _common_suffix(user_before, opening_without_system, system_after if place == "own" else opening)
    assistant_after, user_before = _drop_end(a1_to_u2, shared), shared
    opening_without_system = _drop_end(opening_without_system, shared)
    if place == "own":
        system_after = _drop_end(system_after, shared)
    else:
        opening = _drop_end(opening, shared)

    found = ChatFormat(
        opening=opening,
        opening_without_system=opening_without_system,
        system_place=place,
        system_before=system_before,
        system_after=system_after,
        user_before=user_before,
        user_after=user_after,
        assistant_before=u1_to_a1[len(user_after) :],
        assistant_after=assistant_after,
        generation_prompt=generation_prompt,
        end_of_turn=_end_of_turn(assistant_after, eos, special_tokens),
        tokenizer_adds_bos=tokenizer_adds_bos,
    )
    found = _with_token_texts(found, bos, eos)
    if not found.end_of_turn:
        raise BaseModelError("error.format.no_end_of_turn")
    for conversation in PROOF_CONVERSATIONS:
        expected = ask.reference(conversation, found, bos, eos)
        if replace(found, tokenizer_adds_bos=False).render(conversation) != expected:
            raise BaseModelError("error.format.unexplained", conversation=json.dumps(conversation, ensure_ascii=False))
    return found


def _with_token_texts(found: ChatFormat, bos: str, eos: str) -> ChatFormat:
    """Put the real texts of BOS and EOS in place of their marks, and the BOS at the very beginning apart."""
    texts: dict[str, Any] = {
        name: value.replace(_EOS, eos)
        for name, value in asdict(found).items()
        if isinstance(value, str) and name != "system_place"
    }
    openings = [texts["opening"], texts["opening_without_system"]]
    # In a template whose system prompt comes first of all, or that opens with nothing, the BOS may stand elsewhere.
    for printed in (_BOS, bos):
        if printed and all(text.startswith(printed) for text in openings):
            texts["opening"], texts["opening_without_system"] = (text[len(printed) :] for text in openings)
            texts["bos"] = bos
            break
    return replace(found, **{name: value.replace(_BOS, bos) for name, value in texts.items()})


def _end_of_turn(assistant_after: str, eos: str, special_tokens: Collection[str]) -> str:
    """The token that ends an answer: EOS where the template writes it there, else the first special token, else EOS."""
    if _EOS in assistant_after or (eos and eos in assistant_after):
        return _EOS
    if special_tokens:
        places = [(assistant_after.find(token), -len(token), token) for token in special_tokens if token]
        first = min((place for place in places if place[0] >= 0), default=None)
        return first[2] if first else _EOS
    token = _TOKEN.search(assistant_after)
    return token.group() if token else _EOS


class Template:
    """A Jinja chat template, run as transformers runs it, with thinking off and the date frozen."""

    def __init__(self, source: str) -> None:
        self._template = _compile(source)
        self._variables: dict[str, Any] = {}
        self._variables = self._needed_variables(source)
        self.knows_system = self._knows_system()

    def __call__(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """Render; raises BaseModelError where the template refuses."""
        try:
            return self._run(messages, add_generation_prompt)
        except Exception as error:  # a template is a foreign program: it may raise anything
            raise BaseModelError("error.format.template", reason=f"{type(error).__name__}: {error}") from error

    def reference(self, conversation: Sequence[Message], found: ChatFormat, bos: str, eos: str) -> str:
        """What this template makes of a conversation: a system prompt it has no place for goes to the first user."""
        system, turns = split_system(conversation)
        if system and not self.knows_system:
            turns[0] = {"role": "user", "content": system + found.system_after + turns[0]["content"]}
            conversation = turns
        text = self(conversation)
        return text.replace(_EOS, eos).replace(_BOS, bos) + self.closing_of_thought(text)

    def closing_of_thought(self, prompt: str) -> str:
        """What closes a thought that the generation prompt opens, as this family closes it; "" where none is open."""
        opened = _OPEN_THOUGHT.search(prompt)
        if not opened:
            return ""
        bracket, name, end = opened.groups()
        try:
            answer = {"role": "assistant", "content": _MARKS[1], "reasoning_content": _REASONING}
            shown = self._run([{"role": "user", "content": _MARKS[0]}, answer], False)
        except Exception:  # no way to ask: the common way of closing stands
            shown = ""
        asked = _between(shown, _REASONING, _MARKS[1]) if _REASONING in shown and _MARKS[1] in shown else ""
        if f"/{name}" in asked:
            return asked
        return ("" if opened.group().endswith("\n") else "\n") + f"\n{bracket}/{name}{end}\n\n"

    def _run(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool) -> str:
        variables = {"tools": None, "documents": None, **THINKING_OFF, **self._variables}
        return self._template.render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            bos_token=_BOS,
            eos_token=_EOS,
            **variables,
        )

    def _needed_variables(self, source: str) -> dict[str, Any]:
        """Empty values for what a template asks for that nobody passes; none where it runs without."""
        from jinja2 import meta

        undeclared = meta.find_undeclared_variables(self._template.environment.parse(source))
        given = {"messages", "add_generation_prompt", "bos_token", "eos_token", *THINKING_OFF}
        others = dict.fromkeys(undeclared - given - set(self._template.environment.globals), "")
        lists: dict[str, Any] = {"tools": [], "documents": []}
        for variables in ({}, lists, {**others, **lists}, {**dict.fromkeys(others, ()), **lists}):
            self._variables = variables
            try:
                self._run(_turns(*_MARKS[:3]), True)
            except Exception:  # the next, larger set of variables may do; the last failure is told by __call__
                continue
            return variables
        return {}

    def _knows_system(self) -> bool:
        try:
            return _SYSTEM in self._run(_turns(_MARKS[0], system=_SYSTEM), True)
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


def _turns(*contents: str, system: str = "") -> list[Message]:
    """User and assistant turns in alternation, the system prompt before them where there is one."""
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _between(text: str, left: str, right: str) -> str:
    """What stands between two marks; raises BaseModelError where a mark is missing or out of order."""
    start, end = text.find(left), text.find(right)
    if not 0 <= start < end:
        raise BaseModelError("error.format.unexplained", conversation=repr(text))
    return text[start + 1 : end]


def _common_prefix(*texts: str) -> str:
    """The longest common beginning that doesn't end inside a token's text."""
    shared = os.path.commonprefix(texts)  # noqa: RUF071 - characters are meant
    if any(text != shared for text in texts):
        shared = _OPEN_TOKEN.sub("", shared)
    return shared


def _common_suffix(*texts: str) -> str:
    return os.path.commonprefix([text[::-1] for text in texts])[::-1]  # noqa: RUF071


def _drop_end(text: str, end: str) -> str:
    return text[: len(text) - len(end)]

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
from typing import Any, Literal

from lora_trainer.chat_template import BOS, EOS, MARKS, OPEN_THOUGHT, SYSTEM, Template, between, turns_of
from lora_trainer.errors import BaseModelError

Message = dict[str, str]
"""`role` (system, user or assistant) and `content`."""


_TOKEN = re.compile(r"<\|?[^<>\s]+\|?>|\[/?[A-Z_]+\]|<｜[^<>]+｜>")
_OPEN_TOKEN = re.compile(r"(?:<[^<>\s]*|\[[A-Z_/]*)$")

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
    thought_before: str = ""
    """Before what the model thinks, behind the generation prompt, where it is taught to think; the generation prompt
    may have opened the thought itself."""
    thought_after: str = ""
    """Between a thought and the answer; "" where thoughts are closed by the generation prompt, and not taught."""
    other_ends: tuple[str, ...] = ()
    """Texts of the tokens that the family ends an answer with as well; generation stops at them, too."""

    @property
    def ends(self) -> tuple[str, ...]:
        """All that generation stops at, the one that training teaches first."""
        return (self.end_of_turn, *self.other_ends)

    @property
    def thinks(self) -> bool:
        """Whether answers begin with a thought."""
        return bool(self.thought_after)

    @property
    def thought_tags(self) -> tuple[str, str]:
        """The texts between which a thought stands; the generation prompt may end with the first one."""
        opened = self.thought_before.strip() or OPEN_THOUGHT.search(self.generation_prompt)
        opening = opened if isinstance(opened, str) else opened.group().strip() if opened else ""
        return opening, self.thought_after.strip()

    def completion(self, answer: str, thought: str = "") -> str:
        """What follows the generation prompt, but for the end of the turn."""
        return f"{self.thought_before}{thought}{self.thought_after}{answer}" if self.thinks else answer

    def spoken(self, completion: str) -> str:
        """The answer in what a model wrote: what stands behind the thought; "" of one that came to no end."""
        if not self.thinks:
            return completion
        return completion.partition(self.thought_after.strip())[2].lstrip()

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
        """All fields as plain JSON values; those of thoughts where they are taught, other ends where there are any."""
        values = asdict(self) | {"other_ends": list(self.other_ends)}
        return {name: v for name, v in values.items() if v or not name.startswith(("thought_", "other_"))}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ChatFormat:
        """Read what `to_json` wrote."""
        known = {f.name for f in fields(cls)}
        taken = {name: value for name, value in values.items() if name in known}
        return cls(**taken | {"other_ends": tuple(values.get("other_ends", ()))})


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
    ends: Sequence[str] = (),
    thoughts: bool = False,
) -> ChatFormat:
    """Read the ChatFormat off a Jinja chat template and prove it.

    `bos` and `eos` are the tokens' texts; `special_tokens` all the tokenizer's special tokens, where it is at hand;
    `ends` those at which the family's generation stops. Where the template writes none of these behind an answer, the
    one is taught that the next turn begins with, as GLM does.
    With `thoughts` the template is asked with thinking on, and the thought is left to the answer.
    Raises BaseModelError where the template can't be run, constant strings don't explain what it writes, or it knows
    no thoughts that were asked for.
    """
    ask = Template(jinja, thinking=thoughts)
    u1, a1, u2, a2, u3, a3, u4, _ = MARKS
    turns = turns_of(u1, a1, u2, a2, u3, a3, u4)

    plain = ask(turns)
    u1_to_a1, a1_to_u2 = between(plain, u1, a1), between(plain, a1, u2)
    prompt_end = plain[plain.index(u4) + 1 :]
    asked_nothing = ask(turns[:1], add_generation_prompt=False)
    user_after = _common_prefix(special_tokens, u1_to_a1, prompt_end, asked_nothing[asked_nothing.index(u1) + 1 :])
    answered = ask(turns[:2], add_generation_prompt=False)
    last = answered[answered.index(a1) + 1 :] if a1 in answered else a1_to_u2
    assistant_after = _common_prefix(special_tokens, a1_to_u2, last)
    user_before = a1_to_u2[len(assistant_after) :]
    opening_without_system = plain[: plain.index(u1)]
    generation_prompt = prompt_end[len(user_after) :] + ask.closing_of_thought(prompt_end)
    thought_before, thought_after = ask.around_thought(prompt_end) if thoughts else ("", "")

    # Where a family has no place for a system prompt, it goes to the first user turn.
    place: Literal["own", "first_user", "last_user"] = "first_user"
    opening, system_before, system_after = opening_without_system, "", "\n\n"
    if ask.knows_system:
        with_system = ask(turns_of(u1, a1, u2, a2, u3, system=SYSTEM))
        before = with_system[: with_system.index(SYSTEM)]
        if u1 in before:
            place, opening, lead = "last_user", before[: before.index(u1)], between(with_system, a2, SYSTEM)
            system_before, system_after = lead[len(a1_to_u2) :], between(with_system, SYSTEM, u3)
        elif before.startswith(opening_without_system):
            system_before, system_after = before[len(opening) :], between(with_system, SYSTEM, u1)
        else:
            place, opening, system_after = "own", before, between(with_system, SYSTEM, u1)

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
        end_of_turn=_end_of_turn(assistant_after, eos, special_tokens)
        or next((end for end in ends if user_before.startswith(end)), EOS),
        tokenizer_adds_bos=tokenizer_adds_bos,
        thought_before=thought_before,
        thought_after=thought_after,
    )
    found = _with_token_texts(found, bos, eos)
    found = replace(found, other_ends=tuple(end for end in dict.fromkeys(ends) if end != found.end_of_turn))
    if not found.end_of_turn:
        raise BaseModelError("error.format.no_end_of_turn")
    for conversation in PROOF_CONVERSATIONS:
        expected = ask.reference(_as_it_is_asked(conversation, ask, found), bos, eos)
        if replace(found, tokenizer_adds_bos=False).render(conversation) != expected:
            raise BaseModelError("error.format.unexplained", conversation=json.dumps(conversation, ensure_ascii=False))
    return found


def _as_it_is_asked(conversation: Sequence[Message], ask: Template, found: ChatFormat) -> Sequence[Message]:
    """The conversation that a template is shown: a system prompt it has no place for goes to the first user turn."""
    system, turns = split_system(conversation)
    if not system or ask.knows_system:
        return conversation
    return [{"role": "user", "content": system + found.system_after + turns[0]["content"]}, *turns[1:]]


def _with_token_texts(found: ChatFormat, bos: str, eos: str) -> ChatFormat:
    """Put the real texts of BOS and EOS in place of their marks, and the BOS at the very beginning apart."""
    texts: dict[str, Any] = {
        name: value.replace(EOS, eos)
        for name, value in asdict(found).items()
        if isinstance(value, str) and name != "system_place"
    }
    openings = [texts["opening"], texts["opening_without_system"]]
    # In a template whose system prompt comes first of all, or that opens with nothing, the BOS may stand elsewhere.
    for printed in (BOS, bos):
        if printed and all(text.startswith(printed) for text in openings):
            texts["opening"], texts["opening_without_system"] = (text[len(printed) :] for text in openings)
            texts["bos"] = bos
            break
    return replace(found, **{name: value.replace(BOS, bos) for name, value in texts.items()})


def _end_of_turn(assistant_after: str, eos: str, special_tokens: Collection[str]) -> str:
    """The token that ends an answer: EOS where the template writes it there, else the first special token, else ""."""
    if EOS in assistant_after or (eos and eos in assistant_after):
        return EOS
    if special_tokens:
        places = [(assistant_after.find(token), -len(token), token) for token in special_tokens if token]
        first = min((place for place in places if place[0] >= 0), default=None)
        return first[2] if first else ""
    token = _TOKEN.search(assistant_after)
    return token.group() if token else ""


def _common_prefix(special_tokens: Collection[str], *texts: str) -> str:
    """The longest common beginning that doesn't end inside a token's text, of a known one or what looks like one."""
    shared = os.path.commonprefix(texts)  # noqa: RUF071 - characters are meant
    if all(text == shared for text in texts):
        return shared
    cuts = [len(_OPEN_TOKEN.sub("", shared))]
    for token in special_tokens:
        # brackets are of many kinds: MiniMax writes ]~b]
        starts = range(max(0, len(shared) - len(token) + 1), len(shared))
        cuts += [at for at in starts if any(text.startswith(token, at) for text in texts)]
    return shared[: min(cuts)]


def _common_suffix(*texts: str) -> str:
    return os.path.commonprefix([text[::-1] for text in texts])[::-1]  # noqa: RUF071


def _drop_end(text: str, end: str) -> str:
    return text[: len(text) - len(end)]

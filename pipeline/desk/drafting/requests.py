"""What a model is asked for a draft: examples as real turns, for a manner is learnt from turns and not from words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_desk.counting.general import Language
from pipeline.chat import Tried
from pipeline.desk.drafting.examples import Example

LINE_TOKENS, ANSWER_TOKENS = 256, 512
"""A draft is cut behind so many, and cut drafts aren't shown; some models think first, whatever they are asked."""
_LINE_TEMPERATURE, _ANSWER_TEMPERATURE = 1.0, 0.7
"""What users say is to differ; the character is to stay itself."""


@dataclass(frozen=True)
class Words:
    """What the model is told, in the language of the data."""

    writer: str
    """The system prompt of whoever says the user's lines."""
    character: str
    """Behind it, where the rows have a system prompt."""
    another: str
    about: str
    situations: Mapping[str, str]
    """Situation -> what the user does in it."""
    manners: Mapping[str, str]
    """Situation of the character's -> what the answer does."""


WORDS: Mapping[Language, Words] = {
    "zh": Words(
        writer="用户在和一个角色聊天，你替用户说话。每次只写用户说的一句话：像平时说话那样，不要引号，不要解释，"
        "不要替角色回答。",
        character="角色是这样的：\n{system}",
        another="换个话题，写一句用户说的话。",
        about="写一句用户说的话：{what}。",
        situations={
            "greeting": "刚来，跟角色打招呼",
            "farewell": "要走了，跟角色道别",
            "refusal": "求角色做一件它不会答应的事",
            "not_knowing": "问一件角色不会知道的事",
            "anger": "在生气，话说得很冲",
        },
        manners={
            "refusal": "（这一次不答应，用平时的口吻拒绝。）",
            "not_knowing": "（这一次不知道答案，用平时的口吻说不知道。）",
        },
    ),
    "en": Words(
        writer="A user talks to a character, and you speak for the user. Write one line at a time, as the user would "
        "say it, in the language of the lines before: no quotation marks, no explanations, no answer of the "
        "character's.",
        character="This is the character:\n{system}",
        another="Write one line of the user's, about something else.",
        about="Write one line of the user's, in which the user {what}.",
        situations={
            "greeting": "has just come and says hello",
            "farewell": "has to go and says goodbye",
            "refusal": "asks for something that the character won't do",
            "not_knowing": "asks for something that the character can't know",
            "anger": "is angry and shows it",
        },
        manners={
            "refusal": "(This time you refuse, in your usual manner.)",
            "not_knowing": "(This time you don't know, and say so in your usual manner.)",
        },
    ),
}


@dataclass(frozen=True)
class Asked:
    """One request: what stands in place of the model's own settings, and the turns."""

    tried: Tried
    turns: tuple[dict[str, str], ...]


def line_asked(words: Words, system: str | None, examples: Sequence[Example], situation: str | None) -> Asked:
    """Asks for what a user says: the examples' lines were asked for before, and given."""
    prompt = _joined(words.writer, words.character.format(system=system) if system else None)
    wanted = words.another if situation is None else words.about.format(what=words.situations[situation])
    told = [(words.another, example.line) for example in examples]
    return Asked(_tried(prompt, _LINE_TEMPERATURE, LINE_TOKENS), _turns(told, wanted))


def answer_asked(
    words: Words, system: str | None, examples: Sequence[Example], line: str, situation: str | None
) -> Asked:
    """Asks for the character's answer to a line: under the rows' own system prompt, behind the examples."""
    prompt = _joined(system, words.manners.get(situation or ""))
    told = [(example.line, example.answer) for example in examples]
    return Asked(_tried(prompt, _ANSWER_TEMPERATURE, ANSWER_TOKENS), _turns(told, line))


def _joined(*parts: str | None) -> str:
    return "\n\n".join(filter(None, parts))


def _tried(system: str, temperature: float, tokens: int) -> Tried:
    return Tried(system, {"temperature": temperature, "num_predict": tokens})


def _turns(told: Iterable[tuple[str, str]], last: str) -> tuple[dict[str, str], ...]:
    turns = []
    for said, answer in told:
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    return (*turns, {"role": "user", "content": last})

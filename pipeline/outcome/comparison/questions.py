"""Which questions are asked of both models: always the same ones first, then what the data and the user bring."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data_desk.counting.general import Language, language_of_answers
from lora_trainer.data.dataset import Dataset
from lora_trainer.data.dialogues import Dialogue, contents, learnt_answers
from lora_trainer.events import Listener, Note
from pipeline.outcome.asked import Question
from pipeline.run.history import Run
from pipeline.run.kept import train_file_of
from pipeline.run.rows import rows_of

ALWAYS: Mapping[Language, str] = {"zh": "你好，请介绍一下自己", "en": "Hello, please introduce yourself"}
"""Asked first of every model, by the language of what it was taught."""
CHARACTER: Mapping[Language, tuple[str, ...]] = {
    "zh": ("你叫什么名字？", "你今年多大了？", "你平时做什么工作？", "你是人工智能吗？"),
    "en": ("What is your name?", "How old are you?", "What do you do for a living?", "Are you an AI?"),
}
"""Who the character is: name, age, work, and whether it is an AI."""
USUAL = 10
"""Questions where there is no file of them: about a minute for both models of half a billion weights on two cores."""
LEAST_OF_ROWS = 2
"""Questions of the validation rows that a file of questions leaves room for."""
FILE = "questions.txt"
"""The user's own questions, one a line, beside the training file; what begins with # isn't asked."""
MOST_LINES, MOST_CHARACTERS = 20, 500
"""Lines of that file that are asked, and what one of them (or one that is typed) may be long."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def questions_of(run: Run, listener: Listener, *, most: int = USUAL) -> tuple[Question, ...]:
    """The questions for a run, from the rows kept with it and from questions.txt beside its training file.

    A file that is there and can't be read is told as a Note.
    """
    data = rows_of(run)
    own = lines_of(train_file_of(run).with_name(FILE), listener)
    return choose_questions(data, own, run.record["system"], most=most)


def choose_questions(
    data: Dataset | None, own: Sequence[str], system: str | None, *, most: int = USUAL
) -> tuple[Question, ...]:
    """Those that are always asked, user turns of validation rows (fewer for each of the user's `own`), then these.

    `system` is the model's own system prompt: a row with another one is asked under that. `data` None (an older run's
    rows weren't kept): without the rows' questions, and in the language of the system prompt.
    """
    taught = learnt_answers(data.train) if data is not None else (system or "",)
    language = language_of_answers(taught)
    found = [Question(ALWAYS[language], "always")]
    found += [Question(text, "character") for text in CHARACTER[language]]
    typed = [Question(text, "file") for text in own]
    room = max(LEAST_OF_ROWS, most - len(found) - len(typed))
    rows = data.val if data is not None else ()
    known = {question.text for question in (*found, *typed)}
    return _without_twins((*found, *_spread(_first_turns(rows, system, known), room), *typed))


def _first_turns(rows: Iterable[Dialogue], system: str | None, known: Iterable[str]) -> list[Question]:
    """What the users of the rows begin with, each once, but for what is `known`."""
    found: dict[tuple[str, str | None], Question] = {}
    asked = set(known)
    for row in rows:
        text = next(contents([row], "user"), "").strip()
        own = None if row.system == system else row.system
        if text and len(text) <= MOST_CHARACTERS and text not in asked:
            found.setdefault((text, own), Question(text, "validation", own))
    return list(found.values())


def _spread(questions: Sequence[Question], count: int) -> list[Question]:
    """So many of them, from the whole length."""
    if len(questions) <= count:
        return list(questions)
    return [questions[at * len(questions) // count] for at in range(count)]


def _without_twins(questions: Iterable[Question]) -> tuple[Question, ...]:
    found: dict[tuple[str, str | None], Question] = {}
    for question in questions:
        found.setdefault((question.text, question.system), question)
    return tuple(found.values())


def lines_of(path: Path, listener: Listener) -> tuple[str, ...]:
    """The questions in a file, in order and each once; none where there is no such file.

    Blank lines and those behind a # are left out. What is more or longer than may be asked, and a file that can't be
    read, is told as a Note.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        listener(Note("note.questions.unreadable", {"path": path, "reason": error.strerror or str(error)}))
        return ()
    text = text_in(data)
    if text is None:
        listener(Note("note.questions.unreadable", {"path": path, "reason": "binary"}))
        return ()
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    found = [line for line in lines if line and not line.startswith(("#", "＃"))]
    kept = [line for line in found if len(line) <= MOST_CHARACTERS][:MOST_LINES]
    if len(kept) < len(found):
        values = {"path": path, "count": len(kept), "left": len(found) - len(kept)}
        listener(Note("note.questions.limit", {**values, "most": MOST_LINES, "characters": MOST_CHARACTERS}))
    return tuple(kept)


def text_in(data: bytes) -> str | None:
    """A text file's words: by its byte order mark, else in UTF-8, else in GBK as Chinese Windows writes, else in
    Windows-1252. None where it is no text.
    """
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(codec, errors="replace")
    if b"\0" in data:
        # UTF-16 without its mark: of characters below 256 every other byte is zero
        even, odd = data[::2].count(0), data[1::2].count(0)
        codec = "utf-16-le" if odd > even else "utf-16-be"
        text = data.decode(codec, errors="replace")
        return None if "\0" in text or "�" in text else text
    for codec in ("utf-8", "gb18030"):
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", errors="replace")

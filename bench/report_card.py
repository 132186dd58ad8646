"""How often the warnings of a report card are wrong, on made-up sets of answers: a table of false alarms and misses.

    python -m bench.report_card [--sets 200] [--seed 1]

A set is 60 training answers and 10, 20 or 40 answers of a model, in Chinese and English in turn, made of a small
grammar, with laughter, stammering and a foreign word that the training answers have, too. In four of five sets one
fault is planted: answers copied whole, answers that repeat themselves in one of four ways, answers without an end,
words in other letters. Each answer has it with a probability that is half of the warning's threshold, twice or four
times it. A false alarm is a warning where the fault wasn't planted or at half of the threshold; a miss is none where it
was at twice that or more. Beside that each answer is looked at alone: planted and not seen, seen and not planted.
Prints the table in Markdown.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import count as numbers

from lora_trainer.plan import TrainPlan
from pipeline.outcome.asked import Answer, Question
from pipeline.outcome.report_card.counted import count
from pipeline.outcome.report_card.counting.copying import copied
from pipeline.outcome.report_card.counting.repetition import repeats_itself
from pipeline.outcome.report_card.course import Course
from pipeline.outcome.report_card.taught import Taught
from pipeline.outcome.report_card.warnings import ASTRAY, COPIED, FOREIGN, warnings_of

THRESHOLDS = {"copied": COPIED, "repeats": ASTRAY, "endless": ASTRAY, "letters": FOREIGN}
TRAINING = 60
SIZES = (10, 20, 40)
RATES = (0.5, 2.0, 4.0)
"""Of a threshold: below the first nothing should be said, from the second on something."""
QUESTION = Question("?", "always")
COURSE = Course(TrainPlan(), TRAINING, 2.0, True, None, (), None, (), None, None)

WORDS = {
    "zh": (
        ["（低下头）", "（笑了笑）", "（合上书）", "（看向窗外）", "（轻轻点头）", "（把茶推过来）", "（想了想）"],
        ["我", "店长", "隔壁的猫", "昨天那位客人", "邮递员", "我妹妹", "楼上的老先生"],
        ["找到了", "修好了", "忘记了", "包起来", "念给大家听", "藏在柜子里", "借走了", "画下来"],
        ["那本旧诗集", "一把红伞", "三封信", "半盒饼干", "门口的灯", "那张老照片", "一盆薄荷", "新来的日历"],
        ["今天", "上个月", "下雨的时候", "关门以前", "天还没亮", "吃过晚饭", "过年那几天", "你走了以后"],
        ["，真好。", "呢。", "，你猜为什么？", "……", "，别告诉别人。", "！", "，我也没想到。", "。"],
        ["哈哈哈，", "在、在的，", "嗯嗯，", "好好好，"],
    ),
    "en": (
        ["Well, ", "Oh dear, ", "Listen, ", "Right, ", "Between us, ", "Honestly, ", "As I said, "],
        ["the captain ", "my sister ", "our cook ", "that old sailor ", "the cat ", "a merchant ", "nobody "],
        ["found ", "hid ", "painted ", "borrowed ", "mended ", "lost ", "sold ", "remembers "],
        [
            "the blue lantern ",
            "three letters ",
            "a barrel of apples ",
            "the spare anchor ",
            "my best hat ",
            "that map ",
        ],
        ["before breakfast", "during the storm", "last winter", "behind the stove", "at low tide", "on Sunday"],
        [", you know.", ".", ", and nobody asked.", "!", ", so there.", ", would you believe it?"],
        ["ha ha ha, ", "w-well, ", "yes yes, ", "no no no, "],
    ),
}
FOREIGN_WORDS = {"zh": ["silly", "here", "bó", "founded", "дом", "bookstore"], "en": ["书店", "今天", "дом", "さくら"]}
KNOWN_WORD = {"zh": "WiFi", "en": "寿司"}
"""A word in other letters that the training answers have."""


@dataclass(frozen=True)
class Made:
    """A set, and which of its answers have the fault."""

    fault: str | None
    rate: float
    training: list[str]
    answers: list[Answer]
    planted: list[bool]


def sentence(language: str, rng: random.Random) -> str:
    """Five parts and an end."""
    _, who, does, what, when, ends, _ = (rng.choice(part) for part in WORDS[language])
    said = f"{when}{who}{does}{what.strip()}" if language == "zh" else f"{who}{does}{what}{when}"
    return said + ends


def answer(language: str, rng: random.Random) -> str:
    """An opening and one or two sentences; now and then laughter or stammering."""
    openings, *_, laughs = WORDS[language]
    said = [sentence(language, rng) for _ in range(rng.choice((1, 1, 2)))]
    laugh = rng.choice(laughs) if rng.random() < 0.15 else ""
    return rng.choice(openings) + laugh + ("" if language == "zh" else " ").join(said)


def with_fault(fault: str, said: str, language: str, training: list[str], long: int, rng: random.Random) -> Answer:
    """An answer with the fault in one of its forms."""
    blank = "" if language == "zh" else " "
    if fault == "copied":
        said = rng.choice([text for text in training if KNOWN_WORD[language] not in text])
        return Answer(said.rstrip("。.") if rng.random() < 0.5 else said, True, len(said))
    if fault == "repeats":
        return Answer(said + blank + repeated(language, rng), True, 300)
    if fault == "endless":
        while len(said) <= 2 * long:
            said += blank + sentence(language, rng)
        return Answer(said, False, 300)
    places = (at for at in range(1, len(said)) if (said[at - 1].isalnum() if language == "zh" else said[at] == " "))
    place = rng.choice(list(places))
    return Answer(said[:place] + blank + rng.choice(FOREIGN_WORDS[language]) + said[place:], True, 40)


def repeated(language: str, rng: random.Random) -> str:
    """A sentence again and again; two in turn; a few words; a sentence with another word in it each time."""
    blank = "" if language == "zh" else " "
    one, other = sentence(language, rng), sentence(language, rng)
    form = rng.randrange(4)
    if form == 0:
        return blank.join([one] * rng.randint(3, 6))
    if form == 1:
        return blank.join([one, other] * rng.randint(3, 5))
    if form == 2:
        return blank.join([rng.choice(WORDS[language][3]).strip()] * rng.randint(5, 12))
    who, when = rng.choice(WORDS[language][1]), rng.choice(WORDS[language][4])
    things = rng.sample(WORDS[language][3], 5)
    begins, ends = (f"{when}{who}找到了", "。") if language == "zh" else (f"{when} {who}found ", ".")
    return blank.join(f"{begins}{thing.strip()}{ends}" for thing in things)


def made(number: int, seed: int) -> Made:
    """The set with this number."""
    rng = random.Random(f"{seed}:{number}")
    language = ("zh", "en")[number % 2]
    fault = [None, *THRESHOLDS][number // 2 % 5]
    share = RATES[number // 10 % 3] if fault else 0.0
    rate = share * THRESHOLDS[fault] if fault else 0.0
    training = [answer(language, rng) for _ in range(TRAINING)]
    training[0] += KNOWN_WORD[language]
    taught = set(training)
    long = Taught(training).long
    fresh = (text for text in (answer(language, rng) for _ in numbers()) if text not in taught)
    answers, planted = [], []
    for _ in range(SIZES[number // 30 % 3]):
        said = next(fresh)
        if rng.random() < 0.02:
            said += KNOWN_WORD[language]
        has = fault is not None and rng.random() < rate
        planted.append(has)
        answers.append(
            with_fault(fault, said, language, training, long, rng) if has and fault else Answer(said, True, 40)
        )
    return Made(fault, share, training, answers, planted)


def seen(one: Made) -> dict[str, list[bool]]:
    """For each warning, which of the answers have what it is about."""
    taught = Taught(one.training)
    texts = [answer.text for answer in one.answers]
    return {
        "copied": [whole for whole, _ in copied(texts, one.training)],
        "repeats": [repeats_itself(text) for text in texts],
        "endless": [not answer.stopped and len(answer.text) > taught.long for answer in one.answers],
        "letters": [bool(taught.scripts.foreign(text)) for text in texts],
    }


def main() -> int:
    """Make the sets, and tell how often a warning is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.stdout.write(markdown(counted(options.sets, options.seed)))
    return 0


def counted(sets: int, seed: int) -> Counter[tuple[str, str]]:
    """(warning, what) -> how often."""
    found: Counter[tuple[str, str]] = Counter()
    for number in range(sets):
        one = made(number, seed)
        taught = Taught(one.training)
        after = count(one.answers, [QUESTION] * len(one.answers), taught)
        warned = warnings_of(COURSE, after, taught)
        looked_at = seen(one)
        for warning in THRESHOLDS:
            ill = one.fault == warning and one.rate > 1
            of = f"ill {len(one.answers)}" if ill else "well"
            found[warning, of] += 1
            found[warning, f"{of}, wrong"] += (warning in warned) is not ill
            own = one.planted if one.fault == warning else [False] * len(one.answers)
            for has, is_seen in zip(own, looked_at[warning], strict=True):
                of = "planted" if has else "clean"
                found[warning, of] += 1
                found[warning, f"{of}, wrong"] += has is not is_seen
    return found


def markdown(found: Counter[tuple[str, str]]) -> str:
    """The table."""
    columns = {"false alarms": "well"} | {f"misses of {size} answers": f"ill {size}" for size in SIZES}
    columns |= {"answers not seen": "planted", "answers wrongly seen": "clean"}
    lines = [f"| {' | '.join(('warning', *columns))} |", "|---" * (len(columns) + 1) + "|"]
    for warning in THRESHOLDS:
        told = (f"{found[warning, f'{of}, wrong']} of {found[warning, of]}" for of in columns.values())
        lines.append(f"| {warning} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

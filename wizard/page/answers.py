"""What was answered, as people know it from their telephones: before and after the training, and along the way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from pipeline.outcome.asked import Answer, Asked, Side
from wizard.page.curves import number
from wizard.page.markup import Markup, element, join
from wizard.page.story import Sample, Story
from wizard.page.wording import base_name
from wizard.words import t

SHOWN = 4
"""Questions that are seen at once; the others are a tap away."""
_WHY = {
    "always": "page.source.always",
    "character": "page.source.character",
    "validation": "page.source.validation",
    "file": "page.source.file",
    "typed": "page.source.typed",
}
"""Why a question was asked."""


def comparison(story: Story) -> Markup | None:
    """The same questions to both models; None where nothing was compared."""
    compared = story.comparison
    if compared is None or not compared.asked:
        return None
    before = _side(compared.before) if compared.before else t("page.side.nobody")
    after = _side(compared.after)
    talks = [_talk(one, before, after) for one in compared.asked]
    settings = [f"{name} {value}" for name, value in compared.parameters.items()]
    same = t("word.comma").join([t("page.compared.seed", seed=compared.seed), *settings])
    return element(
        "section",
        element("h2", t("page.compared")),
        element("p", t("page.compared.about"), class_="about"),
        *_folded(talks),
        element("p", t("page.compared.same", what=same), class_="about"),
    )


def along_the_way(story: Story) -> Markup | None:
    """Each question with its answers, the earliest first; None where nothing was asked."""
    if not story.samples:
        return None
    by_question = sorted(story.samples, key=lambda sample: _order(sample, story.samples))
    talks = []
    for question, samples in groupby(by_question, key=lambda sample: sample.question):
        answers = [_answer(one, _epochs(one), "after along") for one in sorted(samples, key=lambda one: one.epochs)]
        talks.append(element("article", _bubble(question, "user"), *answers, class_="talk"))
    return element(
        "section",
        element("h2", t("page.samples")),
        element("p", t("page.samples.about"), class_="about"),
        *_folded(talks),
    )


def _order(sample: Sample, samples: Sequence[Sample]) -> int:
    return next(at for at, other in enumerate(samples) if other.question == sample.question)


def _epochs(sample: Sample) -> str:
    return t("page.epochs", epochs=number(sample.epochs))


def _side(side: Side) -> str:
    if side.kind == "base":
        return t("page.side.base", name=base_name(side.name))
    if side.run is None:
        return t("page.side.ollama", name=side.name)
    if side.epochs is None:
        return t("page.run", number=side.run)
    return t("page.side.run", number=side.run, epochs=number(side.epochs))


def _talk(one: Asked, before: str, after: str) -> Markup:
    system = one.question.system
    other = element("details", element("summary", t("page.system")), element("p", system, dir="auto"))
    return element(
        "article",
        element("p", t(_WHY[one.question.source]), class_="source") if one.question.source in _WHY else None,
        _bubble(one.question.text, "user"),
        other if system else None,
        element(
            "div",
            _answer(one.before, t("page.before", who=before), "before"),
            _answer(one.after, t("page.after", who=after), "after"),
            class_="pair",
        ),
        class_="talk",
    )


def _answer(answer: Answer | Sample | None, who: str, kind: str) -> Markup:
    if answer is None:
        bubble = element("p", t("page.no_answer"), class_="endless")
    else:
        words = answer.text if isinstance(answer, Answer) else answer.answer
        shown = (
            _bubble(words, kind.partition(" ")[0]) if words else element("p", t("page.empty_answer"), class_="endless")
        )
        bubble = join([shown, None if answer.stopped else element("p", t("page.endless"), class_="endless")])
    return element("div", element("p", who, class_="who", dir="auto"), element("div", bubble), class_=f"said {kind}")


def _bubble(words: str, kind: str) -> Markup:
    return element("p", words, class_=f"bubble {kind}", dir="auto")


def _folded(talks: Sequence[Markup]) -> list[Markup]:
    first, rest = talks[:SHOWN], talks[SHOWN:]
    if len(rest) < 2:  # to unfold a single one isn't worth a tap
        return list(talks)
    return [
        *first,
        element("details", element("summary", t("page.compared.more", count=len(rest))), *rest, class_="more"),
    ]

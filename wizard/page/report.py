"""`report.html` beside a run's record: one page of all that is known of it, which needs nothing but itself.

The page is made of the record alone, so it can be made again at any time; it loads nothing and runs nothing, whatever
an answer or a name in it holds (its Content-Security-Policy says so to the browser, too).
"""

from __future__ import annotations

from pathlib import Path

from lora_trainer.events import Listener, Note
from pipeline.run.history import History, Run
from pipeline.run.record import write_whole
from wizard.page import answers, curves, head, numbers
from wizard.page.markup import Markup, element, join, plain
from wizard.page.story import Story, part, story_of
from wizard.words import t

NAME = "report.html"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = Path(__file__).with_name("style.css")


def write_report(history: History, run: Run) -> Path:
    """Write the page of a run, whole or not at all, in the language that the program speaks; returns where it is.

    Raises OSError where it can't be written, ResourceError where the records can't be read.
    """
    path = run.folder / NAME
    write_whole(path, page(story_of(history, run)).encode("utf-8"))
    return path


def report_at_end(history: History, run: Run, listener: Listener) -> Path | None:
    """Write the page of a run that has just ended, and those of the other rungs of its ladder; where the run's own is.

    What keeps a page from being written is a note, and None comes back: the model is there all the same.
    """
    try:
        for other in _other_rungs(history, run):
            write_report(history, other)
        return write_report(history, run)
    except OSError as error:
        values = {"path": error.filename or run.folder / NAME, "reason": error.strerror or str(error)}
        listener(Note("note.page_not_written", values))
        return None


def _other_rungs(history: History, run: Run) -> list[Run]:
    """The runs that were trained by the same request and have no page yet."""
    if not part(run.record, "request").get("ladder"):
        return []
    runs = [other for other in history.readable(run.record["name"]) if other.number != run.number]
    return [other for other in runs if other.identity == run.identity and not (other.folder / NAME).exists()]


def page(story: Story) -> str:
    """The whole document."""
    body = element(
        "main",
        head.header(story),
        head.outcome(story),
        answers.comparison(story),
        _curves(story),
        answers.along_the_way(story),
        numbers.card(story),
        numbers.results(story),
        numbers.making(story),
        numbers.missing(story),
        element("footer", t("page.made_by", version=story.record.get("program", "?"))),
    )
    # a style sheet is text as it stands: no entity is read in it
    style = Markup(f"<style>{_STYLE.read_text(encoding='utf-8')}</style>")
    titles = join([plain(story.name), " · ", t("page.run", number=story.number)])
    top = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", titles),
        style,
    )
    return "<!DOCTYPE html>\n" + element("html", top, element("body", body), lang=t("page.language")) + "\n"


def _curves(story: Story) -> Markup | None:
    figure = curves.loss_curves(story)
    if figure is None:
        return None
    return element(
        "section",
        element("h2", t("page.curves")),
        figure,
        curves.legend(story),
        element("p", t("page.curves.about"), class_="about"),
    )

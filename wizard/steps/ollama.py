"""Is there an Ollama? Asked first: who has none can train now and register later."""

from __future__ import annotations

from dataclasses import replace

from lora_trainer.errors import Cancelled, OllamaError
from wizard import prompts
from wizard.steps.draft import Draft
from wizard.steps.talk import Talk
from wizard.words import t

DOWNLOAD = "https://ollama.com/download"


def look(draft: Draft, talk: Talk) -> Draft:
    """Where a model is to be registered and nothing is there to register it in: what to do about that.

    Raises Cancelled for whoever installs an Ollama first, and Back.
    """
    if draft.request.no_register or draft.request.dry_run or not draft.is_asked:
        return draft
    from pipeline.machine import Glance

    if Glance().models() is not None:
        return draft
    from pipeline.run import published

    while True:
        try:
            published.can_be_had(published.connect())
            return draft
        except OllamaError as error:
            talk.screen.problem(error)
        choice = prompts.select(
            t("ask.no_ollama"),
            [(choice, t(f"menu.no_ollama.{choice}", url=DOWNLOAD)) for choice in ("later", "again", "leave")],
            flag="--no_register",
        )
        if choice == "leave":
            raise Cancelled("error.cancelled")
        if choice == "later":
            return draft.answer(no_register=True)


def connect(draft: Draft, talk: Talk) -> Draft:  # noqa: ARG001
    """The Ollama to register in, where that is wanted; nobody is asked yet."""
    from pipeline.run import published

    return draft if draft.request.no_register else replace(draft, client=published.connect())

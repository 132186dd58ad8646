"""Which model is it about?"""

from __future__ import annotations

from dataclasses import replace

from lora_trainer.errors import UsageError
from pipeline.job import check_name, propose_name
from wizard import lookups
from wizard.prompts import Wrong
from wizard.screen.layout import listed
from wizard.steps.draft import Draft
from wizard.steps.talk import Talk
from wizard.words import t


def choose_name(draft: Draft, talk: Talk) -> Draft:
    """The model's canonical name, which is this run's alone from now on. Raises UsageError, Back, and what a lock does.

    One that is to be continued, rolled back, verified or registered again is chosen from those that there are.
    """
    request, names = draft.request, talk.history.names()
    if request.ollama_name is None:
        again = request.wants_continuation or any(
            getattr(request, flag) for flag in ("rollback", "verify", "report", "register_only", "pack")
        )
        draft = draft.answer(ollama_name=_ask_which(names, talk) if again and names else _ask_name(names, talk))
    assert draft.request.ollama_name is not None
    name = check_name(draft.request.ollama_name)
    talk.locks.close()
    if not (request.dry_run or request.report):  # a page is made while somebody else works on the model, too
        talk.locks.enter_context(talk.history.lock(name))
    return replace(draft, name=name)


def tell_broken(draft: Draft, talk: Talk) -> Draft:
    """Say which of its runs can't be read; newer ones are an error of their own."""
    broken = talk.history.broken(draft.name)
    lookups.tell_broken([run for run in broken if run.schema is None], talk.screen)
    return draft


def _ask_name(names: list[str], talk: Talk) -> str:
    def wrong(line: str) -> Wrong | None:
        return _wrong(line, names)

    message = t("ask.name_existing", names=listed(names)) if names else t("ask.name")
    return talk.text("name", message, flag="--ollama_name", check=wrong)


def _wrong(line: str, names: list[str]) -> Wrong | None:
    if not line:
        return Wrong(t("ask.empty"))
    try:
        check_name(line)
    except UsageError as error:
        proposal = propose_name(line, names)
        reason = t(error.key, **error.values).partition("\n")[0]
        return Wrong(reason + t("ask.take_proposal", proposal=proposal), proposal)
    return None


def _ask_which(names: list[str], talk: Talk) -> str:
    return str(talk.select("which", t("ask.which_model"), [(name, name) for name in names], flag="--ollama_name"))

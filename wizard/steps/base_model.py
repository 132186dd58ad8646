"""Which base model is it trained on?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lora_trainer.errors import BaseModelError, OllamaError, UserError
from lora_trainer.events import Doing
from pipeline.run.base_model import look_again, recorded_base, shown_by_ollama
from wizard import prompts
from wizard.prompts import Back, Row, Wrong, in_columns
from wizard.screen.training import size
from wizard.steps.draft import Draft
from wizard.steps.planned import plan_of
from wizard.steps.price import memory_text, time_text
from wizard.steps.talk import Talk
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.offers.base_models import Offer

DEFAULT_BASE_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"


def settle(draft: Draft, talk: Talk, *, again: bool = False) -> Draft:
    """The base model: a flag's, else the recorded one, else asked, else the default, which is then said.

    One that was recorded and is gone by now is replaced by what stands in Ollama, which is asked where somebody can
    be. Raises OllamaError, and Back.
    """
    request, run = draft.request, draft.stands.run
    continues = draft.choice == "continue"
    itself = draft.name if continues and draft.stands.in_ollama else None
    base = _said(draft)
    if again or base is None:
        if again or draft.is_asked:
            draft, base = _ask(draft, talk, itself if run is None else None)
            draft = draft.answer(base_model=base)
            request = draft.request
        else:
            base = f"ollama:{itself}" if itself else DEFAULT_BASE_MODEL
            talk.screen.note("note.default_base_model", base_model=base)
    recorded = recorded_base(run, request, base, overwrite=draft.choice == "overwrite")
    if recorded and continues and draft.is_asked:
        # the libraries that read it take a while to load
        talk.screen.listen(Doing("base_model"))
    seen = look_again(recorded, draft.client, talk.screen.listen) if recorded and continues else None
    talk.screen.settle()
    gone, found = (seen, None) if isinstance(seen, BaseModelError) else (None, seen)
    if gone is not None and draft.stands.in_ollama:
        draft, base, recorded = *_in_place_of(gone, draft, talk), None
    is_new = run is None and draft.shown is None
    of_base = shown_by_ollama(base, draft.client) if is_new else None
    taken = draft.taken
    if taken is not None and of_base is not None:
        taken = replace(taken, serving=taken.serving.on(of_base))
    return replace(
        draft,
        base=base,
        recorded=recorded,
        found=found,
        base_shown=of_base,
        new_base=gone is not None and recorded is None,
        taken=taken,
    )


def _said(draft: Draft) -> str | None:
    if draft.request.base_model is not None:
        return draft.request.base_model
    return draft.stands.run.record["base"]["source"] if draft.stands.run and draft.choice != "new" else None


def _in_place_of(gone: BaseModelError, draft: Draft, talk: Talk) -> tuple[Draft, str]:
    """What to train on where the recorded base model is gone: asked, else what stands under the name."""
    stands = f"ollama:{draft.name}"
    talk.screen.note("note.base.gone", source=gone.values["source"], was=gone.values["was"])
    if not draft.is_asked:
        talk.screen.note("note.base.stands_in", base_model=stands)
        return draft, stands
    draft, chosen = _ask(draft, talk, draft.name)
    # what stands is no flag's answer: the run's record says that its base is a new one
    return (draft if chosen == stands else draft.answer(base_model=chosen)), chosen


def _ask(draft: Draft, talk: Talk, itself: str | None) -> tuple[Draft, str]:
    """The base model's source, and the draft that knows how it is downloaded."""
    has_times = talk.prices.is_measured

    def renewed() -> list[Row] | None:
        """The rows with the times, once this machine has been measured; they are not waited for."""
        nonlocal has_times
        if has_times or not talk.prices.is_measured:
            return None
        has_times = True
        return _rows(draft, talk, itself)

    rows = _rows(draft, talk, itself)
    while True:
        chosen = talk.select("base", _message(talk), rows, flag="--base_model", renew=renewed)
        try:
            if chosen == "in ollama":
                return draft, _ask_in_ollama(draft, talk)
            if chosen == "typed":
                return draft, _type(draft, talk)
            return _to_be_had(str(chosen), draft, talk)
        except Back:
            rows = _rows(draft, talk, itself)


def _rows(draft: Draft, talk: Talk, itself: str | None) -> list[Row]:
    assert draft.data is not None
    offers = talk.prices.offers(draft.data, plan_of(draft))
    rows = in_columns([f"ollama:{itself}"], [(f"ollama:{itself}", t("base.itself"))]) if itself else []
    too_large = [number for number, offer in enumerate(offers) if not offer.fits_when_freed]
    rows += in_columns([offer.source for offer in offers], [_columns(offer) for offer in offers], too_large)
    rows += [Row("in ollama", t("menu.base.in_ollama"))] if draft.client is not None else []
    return [*rows, Row("typed", t("menu.base.typed"))]


def _message(talk: Talk) -> str:
    machine = talk.prices.machine()
    if machine is None:
        return t("ask.base_model")
    hardware = machine.hardware
    key = "ask.base_model_here" if hardware.device == "cpu" else "ask.base_model_card"
    return t(key, memory=size(hardware.memory_total), device=hardware.name)


def _columns(offer: Offer) -> tuple[str, ...]:
    said = t(f"base.{offer.key}") if offer.key else ""
    if not offer.fits_when_freed:
        return offer.title, said, t("base.too_large"), "", memory_text(offer.memory_needed)
    there = t("base.downloaded") if offer.downloaded else t("base.download", size=size(offer.download_bytes))
    return offer.title, said, there, time_text(offer.duration), memory_text(offer.memory_needed)


def _ask_in_ollama(draft: Draft, talk: Talk) -> str:
    """One of the models that Ollama has; raises Back where it has none that can be trained on."""
    from pipeline.offers.ollama_models import ollama_bases

    assert draft.client is not None
    try:
        found = ollama_bases(draft.client, talk.history)
    except OllamaError as error:
        talk.screen.problem(error)
        raise Back from None
    if not found:
        talk.screen.note("note.base.none_in_ollama")
        raise Back
    columns = [
        (model.name, model.parameters, size(model.size), t("base.unfit") if model.refusal else "") for model in found
    ]
    unfit = [number for number, model in enumerate(found) if model.refusal is not None]
    rows = in_columns([model.source for model in found], columns, unfit)
    if all(row.disabled for row in rows) and found[0].refusal is not None:
        talk.screen.problem(found[0].refusal)
        raise Back
    return str(prompts.select(t("ask.base_in_ollama"), rows, flag="--base_model"))


def _type(draft: Draft, talk: Talk) -> str:
    from pipeline.offers.typed import check_base

    found: dict[str, str] = {}

    def wrong(line: str) -> Wrong | None:
        if not line:
            return Wrong(t("ask.empty"))
        try:
            found[line] = check_base(line, client=draft.client, online=talk.prices.online)
        except UserError as error:
            return Wrong.of(error)
        return None

    line = talk.text("base typed", t("ask.base_model_text"), flag="--base_model", check=wrong)
    return found[line]


def _to_be_had(source: str, draft: Draft, talk: Talk) -> tuple[Draft, str]:
    """The source, or another way to the same model where the hub doesn't answer and it isn't here yet."""
    from pipeline.offers.reach import other_ways

    ways = other_ways(source) if talk.prices.online is False else []
    if not ways:
        return draft, source
    rows = []
    for way in ways:
        lacks = t("menu.way.lacks", package=way.lacks) if way.lacks else ""
        rows.append(Row(way, t(f"menu.way.{way.key}") + lacks, bool(way.lacks)))
    rows.append(Row(None, t("menu.way.wait")))
    chosen = prompts.select(t("ask.way"), rows, flag="--base_model")
    return (draft, source) if chosen is None else (replace(draft, environment=chosen.environment), chosen.take())

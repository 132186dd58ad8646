"""The plan: everything that is decided, each line of it to be changed in place, and the command that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from lora_trainer.errors import Cancelled, UserError
from pipeline.flags import FLAGS
from pipeline.job import library_versions
from pipeline.run.beginnings import first_adapter, updated_libraries
from pipeline.strategies import advised_epochs, needs_confirmation, warnings
from wizard import commands, prompts
from wizard.prompts import Back, Row, in_columns
from wizard.screen.layout import cut
from wizard.screen.plan import PlanView, files_text, number_text, served_rows
from wizard.screen.training import size
from wizard.steps import base_model, data, fields, numbers, ollama
from wizard.steps.draft import Draft
from wizard.steps.planned import on_itself
from wizard.steps.price import time_text
from wizard.steps.talk import Talk
from wizard.words import t

LINES = ("epochs", "learning_rate", "lora_rank", "system", "data", "base_model", "temperature")
"""What people change most, in the order of the plan."""
CHOICES = ("start", "change", "cancel")
DECIDED_ELSEWHERE = frozenset(
    {
        "ollama_name", "on_exists", "continue_train", "force", "add_epochs", "from_scratch", "warm_start", "resume",
        "restart", "rows_of_run", "data_dir", "train_file", "skip_bad_rows", "no_system", "no_qlora",
        "no_keep_chat_template", "register_only", "run", "no_backup", "history", "note", "chat", "rollback", "verify",
        "report", "yes", "json", "lang", "debug", "strategy", "compare", "compare_only", "from_run", "point",
        "pack", "adopt", "clean", "import_", "character", "pause", "columns", "drop_words", "private_names",
        "keep_private", "mend", "data_desk", "draft_by", "thoughts",
    }
)  # fmt: skip
"""Flags that another question answers, and those that say how the program is started."""
_OTHERS = [flag for flag in FLAGS if flag.name not in DECIDED_ELSEWHERE and flag.name not in LINES]
MORE = {
    "training": [flag.name for flag in _OTHERS if flag.group == "training"],
    "serving": [flag.name for flag in _OTHERS if flag.group == "serving"],
    "others": [flag.name for flag in _OTHERS if flag.group not in ("training", "serving")],
}
"""All else that a flag can say, by what it is about."""


def settle(draft: Draft, talk: Talk) -> Draft:
    """Show the plan until it pleases. Raises DecisionNeeded, Cancelled and Back."""
    while True:
        _show(draft, talk)
        if draft.request.yes or draft.request.dry_run:
            return replace(draft, is_complete=True)
        plan = draft.plan
        assert plan is not None
        many = needs_confirmation(plan)
        if many:
            prompts.require_terminal("--yes")
        if not prompts.can_ask():
            return replace(draft, is_complete=True)
        chosen = prompts.select(
            t("ask.review"), [(choice, t(f"menu.review.{choice}")) for choice in CHOICES], flag="--yes"
        )
        if chosen == "cancel":
            raise Cancelled("error.cancelled")
        try:
            if chosen == "change":
                draft = _change(draft, talk)
            elif not many or prompts.confirm(t("ask.many_epochs", epochs=plan.epochs), flag="--yes"):
                return replace(draft, is_complete=True)
            else:
                draft = _settled(_change_line("epochs", draft, talk), talk)
        except Back:
            continue


def _change(draft: Draft, talk: Talk) -> Draft:
    """One line of the plan, changed; raises Back."""
    names = [*LINES] if draft.choice != "continue" else ["strategy", *LINES]
    while True:
        columns = [(t(f"field.{name}"), _value(name, draft)) for name in names]
        rows = in_columns(names, columns)
        rows.append(Row("more", t("menu.plan.more")))
        name = talk.select("line", t("ask.change"), rows, flag="--yes")
        try:
            changed = _change_more(draft, talk) if name == "more" else _change_line(name, draft, talk)
            return _settled(changed, talk)
        except Back:
            continue


def _change_more(draft: Draft, talk: Talk) -> Draft:
    """One of the fields that few people change; raises Back."""
    while True:
        groups = [(group, t(f"menu.more.{group}")) for group in MORE]
        group = talk.select("more", t("ask.change"), groups, flag="--yes")
        with suppress(Back):
            return _change_one_of(MORE[group], draft, talk)


def _change_one_of(names: Sequence[str], draft: Draft, talk: Talk) -> Draft:
    while True:
        name = _choose_field(names, draft, talk)
        with suppress(Back):
            return _change_line(name, draft, talk)


def _choose_field(names: Sequence[str], draft: Draft, talk: Talk) -> str:
    columns = [(t(f"field.{name}"), _value(name, draft), f"--{name}") for name in names]
    return str(talk.select("field", t("ask.change"), in_columns(names, columns), flag="--yes"))


def _change_line(name: str, draft: Draft, talk: Talk) -> Draft:
    if name == "data":
        return data.settle(draft, talk, again=True)
    if name == "base_model":
        return base_model.settle(draft, talk, again=True)
    if name == "strategy":
        return numbers.choose_again(draft, talk)
    if name == "epochs" and draft.strategy == "incremental":
        return numbers.ASKS["incremental"](draft, talk)
    if name in ("epochs", "learning_rate", "lora_rank"):
        return numbers.ask_number(name, draft, talk)
    while True:
        value = fields.ask_field(name, draft)
        try:
            return fields.answer(name, value, draft)
        except UserError as error:
            talk.screen.problem(error)


def _settled(draft: Draft, talk: Talk) -> Draft:
    """The draft with all that follows from what was changed."""
    if draft.is_complete:
        return draft
    if draft.request.no_register:
        draft = replace(draft, client=None)
    elif draft.client is None:
        draft = ollama.connect(draft, talk)
    draft = replace(draft, strategy=draft.request.strategy_choice if draft.strategy else None)
    return numbers.settle(data.settle(draft, talk), talk)


def _value(name: str, draft: Draft) -> str:
    if name == "data":
        return files_text(tuple(draft.data.files)) if draft.data else ""
    if name == "base_model":
        return draft.base
    if name == "strategy":
        return t(f"strategy.{draft.strategy}.title") if draft.strategy else ""
    value = fields.value_of(name, draft)
    return t("word.none") if value is None else cut(number_text(name, value), 40)


def _show(draft: Draft, talk: Talk) -> None:
    plan = draft.plan
    assert plan is not None and draft.data is not None
    talk.screen.plan(view_of(draft, talk))
    for note in warnings(plan, draft.record, len(draft.data.train)):
        talk.screen.listen(note)
    if prompts.can_ask() and not draft.request.dry_run:
        talk.screen.command(commands.command_of(replace(draft.request, yes=True), draft.environment))


def view_of(draft: Draft, talk: Talk) -> PlanView:
    """What the plan shows of a draft."""
    plan, data_set, taken, run = draft.plan, draft.data, draft.taken, draft.stands.run
    assert plan is not None and data_set is not None and taken is not None
    request, record = draft.request, draft.record
    begins = first_adapter(request, draft.strategy, plan, run, new_base=draft.new_base)
    goes_on = record is not None and not (draft.new_base or request.from_scratch or request.warm_start)
    rungs = request.rungs if request.ladder else ()
    cost = talk.prices.of(draft, plan, rungs)
    shared = cost.begins_with if cost else None
    return PlanView(
        name=draft.name,
        base_model=draft.base,
        choice=draft.choice,
        strategy=draft.strategy,
        plan=plan,
        record=record,
        dialogues=len(data_set.train),
        answers=data_set.statistics()["turns"],
        corrections=data_set.corrections,
        val_dialogues=len(data_set.val),
        steps=plan.total_steps(len(data_set.train)),
        advised=advised_epochs(len(data_set.train)),
        files=tuple(data_set.files),
        data_source=taken.sources["data"] if "data_dir" not in draft.answered else "answer",
        serving=served_rows(fields.served(draft), data_set.system, fields.sources(draft)),
        first_adapter=begins,
        on_itself=on_itself(draft),
        updated=updated_libraries(run, plan, library_versions()) if goes_on else (),
        ladder=rungs,
        time=time_text(cost.duration) if cost else "",
        memory=size(cost.memory_bytes) if cost and cost.memory_bytes else "",
        disk=t("plan.disk", size=size(cost.disk_bytes)) if cost and cost.disk_bytes else "",
        goes_on=(shared[0], cost.epochs_computed) if cost and shared else None,
        backs_up=bool(draft.stands.in_ollama) and request.backups > 0,
        registers=draft.client is not None,
    )

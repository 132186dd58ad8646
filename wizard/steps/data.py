"""Which dialogues is it taught, and what to do about those that have faults, have changed or are gone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lora_trainer.errors import DataError
from pipeline.data_places import DEFAULT_DATA, Place, data_places, own_data
from wizard import prompts
from wizard.prompts import Back, Row, Wrong, in_columns
from wizard.screen.layout import cut
from wizard.steps.draft import Draft
from wizard.steps.faults import ask_about_faults
from wizard.steps.talk import Talk
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.job import Dataset
    from pipeline.run.history import Run
    from pipeline.run.kept import TakenOver

_OTHER, _IMPORT = "other", "import"


def choose_first(draft: Draft, talk: Talk) -> Draft:
    """The dialogues of a new model, asked before its name where neither is known. Raises Back."""
    request = draft.request
    looks_at_one = request.wants_continuation or request.exists_choice is not None
    if request.ollama_name is not None or request.names_data or looks_at_one or not draft.is_asked:
        return draft
    return _ask_and_read(draft, None, talk)


def settle(draft: Draft, talk: Talk, *, again: bool = False) -> Draft:
    """Read the dialogues that are meant, and tell how they differ from those that the model was taught before.

    Somebody who can be asked says which (where that isn't known, or `again`), what becomes of rows with faults, and
    which way to go on with changed ones. Raises DataError where nobody can, and Back.
    """
    run = draft.stands.run if draft.choice in ("continue", "overwrite") else None
    if again or (draft.choice == "new" and not draft.request.names_data and draft.is_asked):
        draft = _ask_and_read(draft, run, talk)
    else:
        if draft.choice == "new" and not draft.request.names_data:
            _tell_own_place(draft, talk)
        draft = _readable(_without_what_is_recorded(draft, run), run, talk)
    return _tell_changes(draft, talk, run)


def _ask_and_read(draft: Draft, run: Run | None, talk: Talk) -> Draft:
    while True:
        chosen = _without_what_is_recorded(_ask_where(draft, talk), run)
        try:
            return _readable(chosen, run, talk)
        except Back:
            continue


def _readable(draft: Draft, run: Run | None, talk: Talk) -> Draft:
    """The draft with its dialogues; raises DataError, or asks what is to become of faults, and raises Back."""
    from pipeline.run.kept import take_over

    taken: TakenOver | None = None
    while True:
        try:
            taken = take_over(draft.request, run, draft.shown, continues=draft.choice == "continue")
            data = _read(taken, talk, draft.name)
        except DataError as error:
            if not draft.is_asked:
                raise
            talk.screen.problem(error)
            if error.key == "error.data.recorded_gone":
                draft = _ask_what_instead(draft, talk, run)
            else:
                draft = ask_about_faults(draft, talk, error, taken) or _ask_where(draft, talk)
            continue
        # of a model that is trained on that is known: it thinks, or it doesn't
        is_open = draft.request.thoughts is None and draft.choice != "continue"
        if is_open and draft.is_asked and (thoughts := _thoughts_left_out(data)):
            draft = draft.answer(thoughts=_ask_about_thoughts(thoughts, talk))
            continue
        if draft.base_shown is not None:
            taken = replace(taken, serving=taken.serving.on(draft.base_shown))
        return replace(draft, data=data, taken=taken)


def _thoughts_left_out(data: Dataset) -> int:
    """Answers whose thoughts aren't learnt."""
    return sum(note.values["count"] for note in data.notes if note.key == "data.note.thoughts")


def _ask_about_thoughts(count: int, talk: Talk) -> str:
    rows = [(way, t(f"menu.thoughts.{way}")) for way in ("strip", "train")]
    return str(talk.select("thoughts", t("ask.thoughts", count=count), rows, flag="--thoughts"))


def _read(taken: TakenOver, talk: Talk, name: str) -> Dataset:
    request = taken.request
    places = (request.data_dir, request.train_file, request.val_file, request.rows_of_run, request.system)
    own = name if request.rows_of_run or taken.corrects else ""
    how = (request.no_system, request.skip_bad_rows, request.thoughts == "train")
    key = (own, taken.corrects, *places, *how, taken.seed)
    if key not in talk.read:
        from pipeline.job import read_data

        data = read_data(taken, talk.history, name)
        talk.screen.findings(data.findings)
        talk.screen.usable(data.statistics())
        talk.read.clear()
        talk.read[key] = data
    return talk.read[key]


def _ask_where(draft: Draft, talk: Talk) -> Draft:
    """A folder below `data/`, any other place, or one that something else is brought to."""
    own = own_data(draft.name) if draft.name else None
    while True:
        places = data_places()
        first = next((place.folder for place in places if place.folder == own), None)
        chosen = _select_place(places, first, talk)
        try:
            path = chosen if isinstance(chosen, Path) else _other_place(draft, talk, chosen)
        except Back:
            continue
        except DataError as error:
            talk.screen.problem(error)
            continue
        folder, file = (path, None) if path.is_dir() else (path.parent, path)
        return draft.answer(data_dir=folder, train_file=file, val_file=None, rows_of_run=None)


def _other_place(draft: Draft, talk: Talk, way: str) -> Path:
    """A file or folder that is typed, or the one that the rows of a chat log, a card or a sheet were brought to.

    Raises Back, and DataError for what can't be brought in.
    """
    from wizard.importing import for_training

    if way == _IMPORT:
        return for_training.bring_in_typed(draft, talk)
    path = _type_place(talk)
    return for_training.bring_in(path, draft, talk) if for_training.other_format(path, surely=True) else path


def place_rows(places: Sequence[Place]) -> list[Row]:
    """Folders of dialogues as rows of a menu."""
    columns = [(f"{place.folder}/", _counted(place), _quoted(place.opening)) for place in places]
    return in_columns([place.folder for place in places], columns)


def _select_place(places: Sequence[Place], first: Path | None, talk: Talk) -> Path | str:
    rows = [*place_rows(places), Row(_OTHER, t("menu.data.other")), Row(_IMPORT, t("menu.data.import"))]
    chosen: Path | str = talk.select("data", t("ask.data"), rows, flag="--data_dir", first=first)
    return chosen


def _counted(place: Place) -> str:
    key = "menu.data.rows_and_val" if place.val_rows else "menu.data.rows"
    return t(key, rows=place.rows, val=place.val_rows)


def _quoted(opening: str) -> str:
    return t("menu.data.opening", words=cut(opening, 24)) if opening else ""


def _type_place(talk: Talk) -> Path:
    from pipeline.offers.typed import clean_path

    def wrong(line: str) -> Wrong | None:
        path = clean_path(line) if line else None
        if path is None:
            return Wrong(t("ask.empty"))
        if not path.exists():
            return Wrong(t("ask.no_such_path", path=path))
        if path.is_dir() and not (path / "train.jsonl").is_file():
            return Wrong(t("ask.no_train_file", folder=path))
        return None

    return clean_path(talk.text("data path", t("ask.data_path"), flag="--data_dir", check=wrong))


def _tell_own_place(draft: Draft, talk: Talk) -> None:
    """A new model's dialogues are those of `data/` where nobody says otherwise; others of its own are told."""
    own = own_data(draft.name)
    if (own / "train.jsonl").is_file():
        talk.screen.note("note.data.own_is_there", folder=own, taken=DEFAULT_DATA)


def _without_what_is_recorded(draft: Draft, run: Run | None) -> Draft:
    """Whoever answered the file that the model was trained on anyway has not chosen another one."""
    request = draft.request
    if run is None or "data_dir" not in draft.answered or request.data_dir is None:
        return draft
    from pipeline.run.kept import names_own_file

    if not names_own_file(request, run):
        return draft
    same = draft.answer(data_dir=None, train_file=None)
    return replace(same, answered=same.answered - {"data_dir", "train_file", "val_file", "rows_of_run"})


def _ask_what_instead(draft: Draft, talk: Talk, run: Run | None) -> Draft:
    """The recorded files are gone."""
    from pipeline.run.rows import has_rows

    rows = [("other", t("menu.data_gone.other"))]
    if run is not None and has_rows(run.folder):
        rows.insert(0, ("rows", t("menu.data_gone.rows", number=run.number)))
    chosen = prompts.select(t("ask.data_gone"), rows, flag="--rows_of_run")
    if chosen == "rows" and run is not None:
        return draft.answer(rows_of_run=run.number)
    try:
        return _ask_where(draft, talk)
    except Back:
        return draft


def _tell_changes(draft: Draft, talk: Talk, run: Run | None) -> Draft:
    """Say, before the work, what the model is taught this time and how that differs from what it was taught."""
    from pipeline.run.rows import change_since

    data, taken = draft.data, draft.taken
    assert data is not None and taken is not None
    if draft.told == data.fingerprint:
        return draft
    draft = replace(draft, told=data.fingerprint)
    _tell_left_out(draft, talk)
    now = next(iter(data.files))
    if taken.other_data is not None and Path(now).resolve() != Path(taken.other_data).resolve():
        talk.screen.note("note.data.other", now=now, before=taken.other_data)
    if run is None or run.record["data"]["fingerprint"] == data.fingerprint:
        return replace(draft, change=None)
    change = change_since(run, data)
    if change is None:
        talk.screen.warning("note.data.changed_unknown", number=run.number)
    else:
        before = run.record["data"]["rows"]
        talk.screen.warning(
            "note.data.changed", number=run.number, new=change.new, gone=change.gone, before=before, now=len(data.train)
        )
    return _ask_way(replace(draft, change=change), talk, run)


def _tell_left_out(draft: Draft, talk: Talk) -> None:
    """What was corrected of this model in conversations, where it isn't learnt this time."""
    from pipeline.run.corrections import corrections_of, count_corrections

    assert draft.taken is not None
    path = corrections_of(talk.history, draft.name)
    if not draft.taken.corrects and (count := count_corrections(path)):
        talk.screen.note("note.data.corrections_left_out", count=count, file=path)


def _ask_way(draft: Draft, talk: Talk, run: Run) -> Draft:
    """With changed data: anew from the base model, on from the last adapter, or once more without the change."""
    from pipeline.run.rows import has_rows

    request = draft.request
    said = request.from_scratch or request.warm_start or request.rows_of_run is not None
    if said or draft.choice != "continue" or not draft.is_asked or request.dry_run:
        return draft
    ways = ["all", "warm", *(["same"] if has_rows(run.folder) else [])]
    count = len(draft.data.train) if draft.data else 0
    rows = [(way, t(f"menu.changed.{way}", now=count, number=run.number)) for way in ways]
    way = talk.select("changed", t("ask.changed"), rows, flag="--yes")
    if way == "warm":
        return draft.answer(warm_start=True)
    if way == "same":
        return settle(draft.answer(rows_of_run=run.number), talk)
    return draft

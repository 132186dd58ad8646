"""Request: all that a run can be asked for. Flags and answers fill the same fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from lora_trainer.errors import UsageError
from lora_trainer.plan import TrainPlan
from pipeline.flags import FLAGS, option
from pipeline.outcome.note import MOST, is_too_long

PLAN_NUMBERS = (
    "epochs",
    "learning_rate",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "batch_size",
    "max_length",
    "seed",
)
"""The fields of a TrainPlan that a flag can set to a number."""

PLACES = ("base_model", "data_dir", "train_file", "val_file", "skip_bad_rows")
"""Flags that say where something is found, which is then compared by what it is."""

CONTRADICTIONS = (
    ("system", "no_system"),
    ("resume", "restart"),
    ("add_epochs", "epochs"),
    ("from_scratch", "warm_start"),
    ("ladder", "epochs"),
    ("ladder", "add_epochs"),
    ("qlora", "no_qlora"),
    ("keep_chat_template", "no_keep_chat_template"),
    ("rows_of_run", "data_dir"),
    ("rows_of_run", "train_file"),
    ("rows_of_run", "val_file"),
    ("no_register", "register_only"),
    ("no_backup", "keep_backups"),
    ("compare", "no_compare"),
    *(("compare_only", other) for other in ("history", "rollback", "verify", "register_only", "dry_run")),
    ("history", "rollback"),
    ("history", "verify"),
    ("history", "register_only"),
    ("history", "report"),
    ("report", "rollback"),
    ("report", "verify"),
    ("report", "register_only"),
    ("dry_run", "report"),
    ("history", "note"),
    ("note", "rollback"),
    ("note", "verify"),
    ("rollback", "verify"),
    ("rollback", "register_only"),
    ("verify", "register_only"),
    *(("chat", other) for other in ("history", "rollback", "verify", "register_only", "dry_run")),
    ("dry_run", "rollback"),
    ("dry_run", "verify"),
    ("dry_run", "register_only"),
)
"""Pairs of flags of which at most one can be meant."""

ALONE = ("pack", "adopt", "clean", "import_", "mend", "data_desk")
"""Flags that ask for something of its own: beside them nothing else can be asked for."""
_NOT_BESIDE = (
    "history", "compare_only", "chat", "note", "rollback", "verify", "report", "register_only", "dry_run", "compare",
    "force", "continue_train", "on_exists", "resume", "restart",
)  # fmt: skip
MEASURING = ("max_length", "system", "no_system")
"""Flags that say how long a dialogue may be on a base model, also where it is mended."""
IMPORTING = ("character", "pause", "columns", "drop_words", "private_names", "keep_private")
"""Flags that say how files are brought in."""

ABOUT_A_RUN = ("register_only", "rollback", "history", "compare_only", "chat", "report", "pack")
"""Flags with which `--run` says which run is meant."""

SERVED = ("system", "no_system")
"""Flags that train, and with `--register_only` say how the model is served."""

CONTINUING = ("continue_train", "strategy", "add_epochs", "warm_start", "from_run")
"""Flags that make sense for an existing model only."""


def training_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of flags by name, those that were given and change what is learnt, but for where data and base model lie."""
    names = [flag.name for flag in FLAGS if flag.nature == "trains" and flag.name not in PLACES]
    # a 0 is given, though it equals False
    return {name: values[name] for name in names if values.get(name) is not None and values[name] is not False}


@dataclass(frozen=True)
class Request:
    """One field per flag; None or False is "not given". Raises UsageError where flags contradict each other."""

    ollama_name: str | None = None
    base_model: str | None = None
    data_dir: Path | None = None
    train_file: Path | None = None
    val_file: Path | None = None
    rows_of_run: int | None = None
    skip_bad_rows: bool = False
    system: str | None = None
    no_system: bool = False
    thoughts: str | None = None
    data_desk: bool = False
    draft_by: str | None = None
    import_: tuple[Path, ...] | None = None
    character: str | None = None
    pause: float | None = None
    columns: str | None = None
    drop_words: str | None = None
    private_names: str | None = None
    keep_private: bool = False
    mend: bool = False
    on_exists: str | None = None
    continue_train: bool = False
    force: bool = False
    strategy: str | None = None
    add_epochs: float | None = None
    from_run: int | None = None
    from_scratch: bool = False
    warm_start: bool = False
    resume: bool = False
    restart: bool = False
    epochs: float | None = None
    ladder: str | None = None
    learning_rate: float | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    seed: int | None = None
    scheduler: str | None = None
    early_stop: bool = False
    qlora: bool = False
    no_qlora: bool = False
    quantize: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    num_ctx: int | None = None
    keep_chat_template: bool = False
    no_keep_chat_template: bool = False
    keep_gguf: bool = False
    llama_cpp: Path | None = None
    no_register: bool = False
    register_only: bool = False
    run: int | None = None
    point: float | None = None
    no_backup: bool = False
    keep_backups: int | None = None
    compare: bool = False
    no_compare: bool = False
    history: bool = False
    compare_only: bool = False
    chat: bool = False
    note: str | None = None
    rollback: bool = False
    verify: bool = False
    report: bool = False
    pack: bool = False
    adopt: Path | None = None
    clean: bool = False
    samples: int | None = None
    yes: bool = False
    dry_run: bool = False
    json: bool = False
    lang: str | None = None
    debug: bool = False

    def __post_init__(self) -> None:
        for first, second in CONTRADICTIONS:
            if self._given(first) and self._given(second):
                raise UsageError("error.flag.contradiction", first=option(first), second=option(second))
        for flag in FLAGS:
            value = getattr(self, flag.name)
            if value is None:
                continue
            if flag.choices and value not in flag.choices:
                choices = ", ".join(flag.choices)
                raise UsageError("error.flag.choice", flag=flag.option, value=value, choices=choices)
            if flag.low is not None and flag.high is not None and not flag.low <= value <= flag.high:
                raise UsageError("error.flag.range", flag=flag.option, value=value, low=flag.low, high=flag.high)
        if self.run is not None and not (self.only_notes or any(getattr(self, name) for name in ABOUT_A_RUN)):
            others = " / ".join(f"--{name}" for name in (*ABOUT_A_RUN, "note"))
            raise UsageError("error.flag.needs", flag="--run", other=others)
        if self.run is not None and self.history and self.ollama_name is None:
            raise UsageError("error.flag.needs", flag="--run", other="--ollama_name")
        if self.note is not None and is_too_long(self.note):
            raise UsageError("error.flag.note_long", most=MOST)
        if self.point is not None and not self.register_only:
            raise UsageError("error.flag.needs", flag="--point", other="--register_only")
        if self.register_only and (trained := self.trained_otherwise()):
            raise UsageError("error.flag.contradiction", first="--register_only", second=f"--{trained[0]}")
        self._check_alone()
        for name in filter(self._given, IMPORTING):
            if self.import_ is None:
                raise UsageError("error.flag.needs", flag=f"--{name}", other="--import")
        if self.draft_by is not None and not self.data_desk:
            raise UsageError("error.flag.needs", flag="--draft_by", other="--data_desk")
        TrainPlan(**self.plan_numbers())
        for epochs in self.rungs if self.ladder else ():
            TrainPlan(epochs=epochs)
        self._check_exists_choice()

    def answering(self, **answers: Any) -> Request:
        """The same with `answers` (by flag): what a flag said against one of them goes. Raises UsageError as ever."""
        given = {name for name, value in answers.items() if value is not None and value is not False}
        gone = {other for pair in CONTRADICTIONS for name, other in (pair, pair[::-1]) if name in given}
        if "on_exists" in given:
            gone |= {"force", "continue_train"} if answers["on_exists"] == "continue" else {"force", *CONTINUING}
        if "strategy" in given:
            gone |= {"epochs", "ladder"} if answers["strategy"] == "incremental" else {"add_epochs"}
        if "add_epochs" in given and self.strategy != "incremental":
            gone.add("strategy")
        if "register_only" in given:
            gone |= training_flags(vars(self)).keys() - {*SERVED}
        usual: dict[str, Any] = {f.name: f.default for f in fields(self)}
        return replace(self, **{name: usual[name] for name in gone - answers.keys()}, **answers)

    def _given(self, name: str) -> bool:
        value = getattr(self, name)
        return value is not None and value is not False

    def _check_alone(self) -> None:
        for flag in filter(self._given, ALONE):
            others = [name for name in (*ALONE, *_NOT_BESIDE) if name != flag and self._given(name)]
            others += [n for n in training_flags(vars(self)) if not (flag == "mend" and n in MEASURING)]
            others += ["base_model"] if self.base_model is not None and flag not in ("adopt", "mend") else []
            others += [name for name in ("train_file", "val_file") if flag == "import_" and self._given(name)]
            if others:
                raise UsageError("error.flag.contradiction", first=option(flag), second=option(others[0]))

    def _check_exists_choice(self) -> None:
        wanted = [("--force", "overwrite")] if self.force else []
        wanted += [(f"--{name}", "continue") for name in CONTINUING if self._given(name)]
        if self.on_exists not in (None, "ask"):
            wanted.append((f"--on_exists {self.on_exists}", str(self.on_exists)))
        for (first, one), (second, other) in pairwise(wanted):
            if one != other:
                raise UsageError("error.flag.contradiction", first=first, second=second)
        if self.add_epochs is not None and self.strategy not in (None, "incremental"):
            raise UsageError("error.flag.contradiction", first="--add_epochs", second=f"--strategy {self.strategy}")
        for total in ("epochs", "ladder"):
            if self.strategy == "incremental" and self._given(total):
                raise UsageError("error.flag.total_epochs", flag=f"--{total}")

    def trained_otherwise(self) -> list[str]:
        """The flags given that ask for another training; where data and base model lie is no such matter."""
        return [name for name in training_flags(vars(self)) if not (self.register_only and name in SERVED)]

    def plan_numbers(self) -> dict[str, Any]:
        """The numbers of a TrainPlan that were given by flags; a ladder's epochs are its longest rung's."""
        given = {name: getattr(self, name) for name in PLAN_NUMBERS if getattr(self, name) is not None}
        return {**given, "epochs": self.rungs[-1]} if self.ladder else given

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two requests ask for the same training: the flags that train, as plain JSON values."""
        return training_flags(vars(self))

    @property
    def rungs(self) -> tuple[float, ...]:
        """The epochs of a ladder's rungs, shortest first; raises UsageError."""
        try:
            rungs = sorted({float(part) for part in (self.ladder or "").split(",")})
        except ValueError:
            rungs = []
        if len(rungs) < 2 or rungs[0] <= 0:
            raise UsageError("error.flag.ladder", value=self.ladder)
        return tuple(rungs)

    @property
    def exists_choice(self) -> str | None:
        """What to do with an existing model: continue, overwrite, skip or cancel; None where that is to be asked."""
        if self.force:
            return "overwrite"
        if self.wants_continuation:
            return "continue"
        return None if self.on_exists == "ask" else self.on_exists

    @property
    def wants_continuation(self) -> bool:
        """Whether flags were given that make sense for an existing model only (beyond `--on_exists continue`)."""
        return any(self._given(name) for name in CONTINUING)

    @property
    def only_notes(self) -> bool:
        """Whether a note is all that is asked for: no flag beside it speaks of a training or of registering."""
        beside = ("ollama_name", "run", "note", "json", "lang", "debug")
        others = (f.name for f in fields(self) if f.name not in beside)
        return self.note is not None and self.ollama_name is not None and not any(map(self._given, others))

    @property
    def is_about_a_run(self) -> bool:
        """Whether it is about a run that is there, and no training is asked for."""
        return self.verify or any(getattr(self, name) for name in ABOUT_A_RUN)

    @property
    def names_data(self) -> bool:
        """Whether flags say which dialogues to train on."""
        return any(value is not None for value in (self.data_dir, self.train_file, self.rows_of_run))

    def training_on(self, name: str, number: int) -> Request:
        """What asks to train on from run `number` of a name, told and kept as is asked for here."""
        alike = ("no_backup", "keep_backups", "keep_gguf", "llama_cpp", "lang", "debug")
        how: dict[str, Any] = {flag: getattr(self, flag) for flag in alike}
        return Request(ollama_name=name, continue_train=True, from_run=number, **how)

    @property
    def strategy_choice(self) -> str | None:
        """The strategy that the flags name or imply; None where it is to be asked."""
        if self.strategy is not None:
            return self.strategy
        if self.add_epochs is not None:
            return "incremental"
        return "custom" if self.plan_numbers().keys() & {"epochs", "learning_rate", "lora_rank"} else None

    @property
    def backups(self) -> int:
        """How many backup tags a name keeps."""
        return 0 if self.no_backup else 1 if self.keep_backups is None else self.keep_backups

"""Commands that are shown can be typed as they stand, and ask for what they were made of."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lora_trainer.errors import UsageError
from pipeline.flags import FLAGS, Flag, option
from pipeline.request import IMPORTING, Request
from tests.support.project import ROOT
from wizard import started, words
from wizard.command_line import parse
from wizard.commands import command, words_of
from wizard.screen.tables import Summary, next_steps
from wizard.started import SCRIPT, line, quick_start
from wizard.words import t

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip)
RANGES = {"lora_alpha": (1e-3, 1e5), "lora_dropout": (0, 0.99), "learning_rate": (1e-8, 1), "epochs": (0.01, 1000)}
WHOLE = {"lora_rank": (1, 1024), "batch_size": (1, 4096), "max_length": (16, 1 << 20), "seed": (0, 2**32 - 1)}


def values(flag: Flag) -> st.SearchStrategy[Any]:
    """What a command line can say behind a flag."""
    if flag.kind == "switch":
        return st.just(True)
    if flag.choices:
        return st.sampled_from(flag.choices)
    if flag.name == "ladder":
        return st.lists(st.floats(0.01, 1000), min_size=2, unique=True).map(lambda rungs: ",".join(map(str, rungs)))
    if flag.kind == "path":
        return TEXT.map(Path)
    if flag.kind == "paths":
        return st.lists(TEXT.map(Path), min_size=1).map(tuple)
    if flag.kind == "text":
        return TEXT
    low, high = (flag.low, flag.high) if flag.low is not None else {**RANGES, **WHOLE}[flag.name]
    return st.floats(low, high) if flag.kind == "float" else st.integers(int(low or 0), int(high or 0))


REQUESTS = st.fixed_dictionaries({}, optional={flag.name: values(flag) for flag in FLAGS})


def request_of(given: dict[str, Any]) -> Request:
    """A request of as many of these values, in their order, as don't contradict each other."""
    taken: dict[str, Any] = {}
    for name, value in given.items():
        try:
            Request(**{**taken, name: value})
        except UsageError:
            continue
        taken[name] = value
    return Request(**taken)


@example({"system": "--"})
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS)
def test_the_words_of_a_request_ask_for_the_same_request(given: dict[str, Any]) -> None:
    request = request_of(given)
    assert parse(words_of(request)) == request
    assert parse(shlex.split(line(words_of(request), posix=True))) == request


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_field_of_a_request_becomes_a_flag(flag: Flag) -> None:
    value = {
        "switch": True,
        "text": "2,3",
        "path": Path("a b/数据"),
        "paths": (Path("a b"), Path("-c")),
        "int": 3,
        "float": 0.5,
    }[flag.kind]
    given = {flag.name: flag.choices[0] if flag.choices else 64 if flag.name in ("max_length", "num_ctx") else value}
    if flag.name in ("run", "point"):
        given["register_only"] = True
    if flag.name in IMPORTING:
        given["import_"] = (Path("a"),)
    if flag.name == "draft_by":
        given["data_desk"] = True
    request = Request(**given)
    assert words_of(request)[0].partition("=")[0] in {option(name) for name in given}
    assert parse(words_of(request)) == request
    assert {field.name for field in fields(Request)} == {row.name for row in FLAGS}


def test_numbers_are_written_as_people_write_them() -> None:
    request = Request(ollama_name="zzhua", epochs=3.5, learning_rate=2e-4, lora_rank=8)
    wanted = ["--ollama_name", "zzhua", "--epochs", "3.5", "--learning_rate", "2e-4", "--lora_rank", "8"]
    assert words_of(request) == wanted


def test_a_value_that_begins_like_a_flag_stays_one() -> None:
    assert words_of(Request(system="--yes")) == ["--system=--yes"]


# --- where they are typed

SHOWING = "from wizard.commands import *; print(command(), quick_start('setup'), sep='\\n')"


def shown(cwd: Path, python: str = sys.executable, **environment: str) -> list[str]:
    """What a process of this Python in `cwd` shows: a command of the program, and one of quick_start.sh."""
    more = {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [python, "-c", SHOWING],
        cwd=cwd,
        env={**os.environ, **more},
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout.splitlines()


def test_it_is_the_users_own_python_and_a_path_from_where_it_was_started(tmp_path: Path) -> None:
    python = tmp_path / "a b" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    assert shown(ROOT, python=str(python))[0] == f"'{python}' train_to_ollama.py"
    assert shown(ROOT.parent)[0].endswith(f" {ROOT.name}/train_to_ollama.py")
    assert shown(tmp_path, python=str(python)) == [
        f"'a b/python' {ROOT / 'train_to_ollama.py'}",
        f"{ROOT / 'quick_start.sh'} setup",
    ]
    assert shown(ROOT)[1] == "./quick_start.sh setup"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ((), "1"),
        (("--ollama_name", "zzhua", "--register_only"), "1 --ollama_name zzhua --register_only"),
        (("--ollama_name", "zzhua", "--continue_train"), "3 zzhua"),
        (("--yes", "--ollama_name", "zzhua", "--system", "a b", "--continue_train"), "3 zzhua --yes --system 'a b'"),
    ],
)
@pytest.mark.parametrize("script", ["./quick_start.sh", "../我的 模型/quick_start.sh"])
def test_who_started_quick_start_types_it_again(
    script: str, flags: tuple[str, ...], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCRIPT, script)
    assert command(*flags) == f"{shlex.quote(script)} {wanted}"
    assert quick_start("setup") == f"{shlex.quote(script)} setup"


def test_a_script_that_was_named_to_bash_is_named_to_bash_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCRIPT, "quick_start.sh")
    assert quick_start("setup") == "./quick_start.sh setup"
    monkeypatch.setattr(started.os, "access", lambda *_: False)
    assert quick_start("setup") == "bash ./quick_start.sh setup"


def test_on_windows_commands_have_the_form_of_its_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SCRIPT, raising=False)
    assert quick_start("3", "zzhua", windows=True).endswith("quick_start.bat 3 zzhua")
    typed = {
        "quick_start.bat": ".\\quick_start.bat",
        ".\\quick_start.bat": ".\\quick_start.bat",
        "C:\\我的 模型\\quick_start.bat": '"C:\\我的 模型\\quick_start.bat"',
    }
    for script, told in typed.items():
        monkeypatch.setenv(SCRIPT, script)
        assert quick_start("setup") == f"{told} setup"
        # as words, too, and with a word that needs quotation marks
        assert (
            command("--ollama_name", "zzhua", "--continue_train", "--system", "a b") == f'{told} 3 zzhua --system "a b"'
        )
        assert told in t("error.demo.no_base")


def summary(**more: Any) -> Summary:
    facts: dict[str, Any] = {"name": "林/zz", "registered": True, "seconds": 1.0, "losses": [], "val_losses": []}
    places = {"folder": Path("runs"), "modelfile": Path("我的 runs/$1/Modelfile"), "gguf": Path("x"), "backup": "b"}
    return Summary(**{**facts, **places, **more})


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("script", ["", "./quick_start.sh"])
@pytest.mark.parametrize("registered", [True, False])
def test_every_command_of_the_last_screen_is_understood_by_a_shell_and_by_the_program(
    registered: bool, script: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCRIPT, script)
    words.use_language(language)
    told = next_steps(summary(registered=registered))
    lines = [shlex.split(text) for text in told.splitlines() if text.startswith("  ")]
    assert len(lines) == (5 if registered else 3)
    requests = []
    for typed in lines:
        if typed[0] == "ollama":
            assert typed[1:] in (["run", "林/zz"], ["create", "林/zz", "-f", "我的 runs/$1/Modelfile"])
        elif script:
            assert typed[0] == script
            meant = {"3": "--continue_train", "7": "--chat"}.get(typed[1])
            requests.append(parse(["--ollama_name", typed[2], meant, *typed[3:]] if meant else typed[2:]))
        else:
            assert typed[1] == "train_to_ollama.py"
            requests.append(parse(typed[2:]))
    name = "林/zz"
    talk, continued = Request(ollama_name=name, chat=True), Request(ollama_name=name, continue_train=True)
    back, register = Request(ollama_name=name, rollback=True), Request(ollama_name=name, register_only=True)
    assert requests == ([talk, continued, back] if registered else [talk, register])
    words.use_language("zh")


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_no_text_spells_out_a_command_of_ours(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCRIPT, "{odd}/quick_start.sh")
    words.use_language(language)
    spelt = {key: text for key, text in words._texts.items() if re.search(r"train_to_ollama\.py|wizard\.\w+", text)}
    assert spelt == {}
    assert "{odd}/quick_start.sh' setup" in t("error.demo.no_base")
    assert "{odd}/quick_start.sh' setup" in t("machine.packages_missing", names="x")
    words.use_language("zh")


def test_what_a_person_has_set_for_the_program_is_not_meant_for_the_tests() -> None:
    """quick_start.sh, which starts the tests, tells what it starts how commands are typed: a test is no user's run."""
    one = test_it_is_the_users_own_python_and_a_path_from_where_it_was_started
    test = f"{Path(__file__).relative_to(ROOT)}::{one.__name__}"
    theirs = {"TRAIN_TO_OLLAMA_SCRIPT": "./quick_start.sh", "TRAIN_TO_OLLAMA_LANG": "en"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **theirs}, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout

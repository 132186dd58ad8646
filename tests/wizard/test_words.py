"""Every visible word stands in both languages, and every text is used."""

from __future__ import annotations

import ast
import json
import re
import string
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from lora_trainer.plan import SCHEDULERS, SOURCES, TrainPlan
from pipeline.flags import FLAGS
from pipeline.offers.base_models import RECOMMENDED
from pipeline.strategies import ADD_EPOCHS, RANKS, RATES, STRATEGIES
from tests.support.project import ROOT
from tests.support.text_values import Given, given
from tests.test_imports import sources
from wizard import words
from wizard.screen.plan import NAMED
from wizard.steps import existing, plan
from wizard.steps.fields import EXPLAINED
from wizard.words import language_of, local_time, rate_text, t

TEXTS = {
    language: json.loads((ROOT / f"wizard/texts/{language}.json").read_text(encoding="utf-8"))
    for language in words.LANGUAGES
}
KEY = re.compile(r"[a-z_]+(\.[a-z0-9_A-Z]+)+")
PREFIXES = {key.partition(".")[0] for key in TEXTS["zh"]}


def code() -> Iterator[tuple[Path, ast.Module]]:
    for path in sources():
        yield path, ast.parse(path.read_text(encoding="utf-8"))
    yield ROOT / "train_to_ollama.py", ast.parse((ROOT / "train_to_ollama.py").read_text(encoding="utf-8"))


def keys_in_code() -> dict[str, str]:
    """Every string of the code that looks like a text key, with a place where it stands."""
    found = {}
    for path, tree in code():
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in parts:
                continue
            if KEY.fullmatch(node.value) and not node.value.endswith((".py", ".json")):
                found[node.value] = f"{path.name}:{node.lineno}"
    return found


def composed_keys() -> set[str]:
    """The keys that code puts together from the rows of a table or the name in an event."""
    keys = {f"help.{flag.name}" for flag in FLAGS} | {f"help.group.{flag.group}" for flag in FLAGS}
    keys |= {f"number.{f.name}" for f in fields(TrainPlan) if f.name != "sources"} | {"number.add_epochs"}
    keys |= {f"source.{source}" for source in SOURCES}
    keys |= {f"strategy.{row.name}.{part}" for row in STRATEGIES for part in ("title", "about")}
    keys |= {f"preset.{key}" for row in STRATEGIES for key in row.presets}
    keys |= {f"advice.{advice.key}" for advice in (*ADD_EPOCHS, *RATES, *RANKS)}
    keys |= {f"menu.exists.{choice}{about}" for choice in existing.CHOICES for about in ("", ".about")}
    keys |= {f"menu.review.{choice}" for choice in plan.CHOICES} | {f"menu.more.{group}" for group in plan.MORE}
    keys |= {f"plan.choice.{choice}" for choice in ("new", "continue", "overwrite")}
    keys |= {f"field.{name}" for name in (*plan.LINES, "strategy", *(n for names in plan.MORE.values() for n in names))}
    keys |= {f"field.{name}.about" for name in EXPLAINED}
    keys |= {f"scheduler.{name}" for name in SCHEDULERS} | {f"parameter.{name}" for name in NAMED}
    keys |= {f"base.{offer.key}" for offer in RECOMMENDED if offer.key}
    keys |= {f"menu.way.{way}" for way in ("mirror", "modelscope", "wait")}
    keys |= {f"error.flag.not_{kind}" for kind in ("int", "float")}
    keys |= {f"data.{kind}s" for kind in ("fault", "note")} | {f"data.more_{kind}s" for kind in ("fault", "note")}
    keys |= {f"summary.{curve}" for curve in ("loss", "val_loss")}
    names = {"Check": "check", "Progress": "progress", "StageStarted": "stage"}
    for _, tree in code():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in names and node.args and isinstance(argument := node.args[0], ast.Constant):
                keys.add(f"{names[name]}.{argument.value}")
    return keys


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def patterns() -> list[re.Pattern[str]]:
    """The f-strings of the code that begin like a key, as patterns of the keys that they can make."""
    found = []
    for _, tree in code():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) and isinstance(first := node.values[0], ast.Constant):
                if not re.match(r"[a-z_]+\.", str(first.value)):
                    continue
                parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"[\w.]+" for p in node.values]
                found.append(re.compile("".join(parts)))
    return found


def test_both_languages_have_the_same_keys() -> None:
    assert set(TEXTS["zh"]) == set(TEXTS["en"])


def test_both_languages_have_the_same_placeholders() -> None:
    kinds = {key: (placeholders(text), placeholders(TEXTS["en"][key])) for key, text in TEXTS["zh"].items()}
    assert {key: pair for key, pair in kinds.items() if pair[0] != pair[1]} == {}


def test_every_key_in_the_code_has_a_text() -> None:
    own = {key: place for key, place in keys_in_code().items() if key.partition(".")[0] in PREFIXES}
    # A Check is named without its prefix.
    missing = {key: place for key, place in own.items() if not {key, f"check.{key}"} & set(TEXTS["zh"])}
    assert missing == {}


def test_every_key_that_is_put_together_has_a_text() -> None:
    assert sorted(composed_keys() - set(TEXTS["zh"])) == []


def test_every_text_is_used() -> None:
    made = patterns()
    unused = set(TEXTS["zh"]) - set(keys_in_code())
    assert sorted(key for key in unused if not any(pattern.fullmatch(key) for pattern in made)) == []


UNREAD = {
    "error.export.converter": {"reason"},  # it comes out of another process as JSON
    "error.export.file_missing": {"reason"},
}
"""Texts whose values can't be read off the code, and their values."""


def most_particular(places: list[Given]) -> list[Given]:
    """Those with the longest pattern: `card.{key}` shows what `card.habit_{kind}` has made."""
    longest = max((len(place.key.pattern) for place in places if isinstance(place.key, re.Pattern)), default=0)
    return [place for place in places if isinstance(place.key, re.Pattern) and len(place.key.pattern) == longest]


def unfit(modules: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Key -> what is wrong with the values that `modules` give to a text with placeholders."""
    places = given(modules)
    found: dict[str, list[str]] = {}
    for key, text in texts.items():
        own = [place for place in places if place.key == key]
        own = own or most_particular(
            [place for place in places if isinstance(place.key, re.Pattern) and place.key.fullmatch(key)]
        )
        if wanted := placeholders(text):
            faults = [] if own else ["nobody gives it any"]
            for place in own:
                if place.values is None:
                    faults.append(f"{place.place} can't be read")
                elif lacking := wanted - place.values:
                    faults.append(f"{place.place} lacks {sorted(lacking)}")
            if faults:
                found[key] = faults
    return found


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_text_gets_the_values_that_its_placeholders_want(language: str) -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8") for path, _ in code()
    }
    found = unfit(modules, TEXTS[language])
    assert {key: faults for key, faults in found.items() if key not in UNREAD} == {}
    assert {key: placeholders(TEXTS[language][key]) for key in found} == UNREAD


@pytest.mark.parametrize(
    "source",
    [
        't("a.b", nmae=1)',
        't("a.b")',
        'def f():\n    raise UsageError("a.b", other=1)',
        'def f():\n    values = {"nmae": 1}\n    return Note("a.b", values)',
        'def f(x):\n    values = {}\n    if x:\n        values["name"] = 1\n    return Note("a.b", values)',
        'def f(x):\n    if x:\n        values = {"name": 1}\n    else:\n        return Note("a.b", values)',
        'def f(x):\n    key = "a.b" if x else "a.c"\n    return t(key, nmae=1)',
        'def f(x):\n    key = "a.b"\n    if x:\n        key = "a.c"\n    return t(key, name=1)',
        'def f(values):\n    return Note("a.b", values)',
        'def f(error):\n    raise UsageError("a.b", **error.values)',
        'def f(x):\n    return {"nmae": x}\ndef g():\n    return Check("disk", "ok", "a.b", f(1))',
        'def f(x):\n    return (0, "a.b", {"nmae": x})',
        'def f(x):\n    t(f"a.{x}", nmae=1)',
        'def f(x):\n    t("a.b", name=1)\n    say(key="a.b", nmae=1)',
        "",
    ],
)
def test_a_value_that_is_misspelt_or_not_sure_to_come_is_found(source: str) -> None:
    assert list(unfit({"planted": source}, {"a.b": "{name}", "a.c": "nothing"})) == ["a.b"]


@pytest.mark.parametrize(
    "source",
    [
        't("a.b", name=1, more=2)',
        'def f(x):\n    values = {"more": 1}\n    values["name"] = x\n    return Note("a.b", values)',
        'def f(x):\n    values = {"more": 1}\n    return Note("a.b", values | {"name": x})',
        'def f(x):\n    values = {"name": x}\n    raise UsageError("a.c" if x else "a.b", **values)',
        'def f(x):\n    key = "a.b" if x else "a.c"\n    return t(key, name=1)',
        'def f(x):\n    return {"name": x}\ndef g():\n    return Check("disk", "ok", "a.b", f(1))',
        'def f(x):\n    return (0, "a.b", {"name": x})',
        'def f(x):\n    t(f"a.{x}", name=1)',
    ],
)
def test_values_that_surely_come_are_read_off(source: str) -> None:
    assert unfit({"planted": source}, {"a.b": "{name}", "a.c": "nothing"}) == {}


@pytest.mark.parametrize(
    "call", ['Line("stops", "plain", {"nmae": 1})', 'Line(f"st{x}", "plain")', 'Line("stops", "plain")']
)
def test_the_values_of_a_line_of_a_card_are_read_off(call: str) -> None:
    texts = {"card.stops": "{name}"}
    assert list(unfit({"planted": f"def f(x):\n    {call}"}, texts)) == ["card.stops"]
    assert unfit({"planted": "def f(x):\n    Line(f'st{x}', 'plain', {'name': x})"}, texts) == {}
    assert unfit({"planted": 'NextStep("use", {"name": 1})'}, {"card.next.use": "{name}"}) == {}


@pytest.mark.parametrize(("given_name", "faulty"), [("name", []), ("nmae", ["a.big"])])
def test_of_two_forms_of_a_key_the_more_particular_one_gives_the_values(given_name: str, faulty: list[str]) -> None:
    source = f'def f(x):\n    t(f"a.b{{x}}", {given_name}=1)\n    t(f"a.{{x}}", **x.values)'
    assert list(unfit({"planted": source}, {"a.big": "{name}"})) == faulty


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_text_without_placeholders_holds_no_braces_that_would_stay_doubled(language: str) -> None:
    plain = {key: text for key, text in TEXTS[language].items() if not placeholders(text)}
    assert [key for key, text in plain.items() if "{" in text or "}" in text] == []


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "zh"),
        ({"LANG": "C"}, "zh"),
        ({"LANG": "C.UTF-8"}, "zh"),
        ({"LC_ALL": "POSIX"}, "zh"),
        ({"LANG": "zh_CN.GBK"}, "zh"),
        ({"LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB"}, "en"),
        ({"LANG": "en_US.UTF-8", "TRAIN_TO_OLLAMA_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "TRAIN_TO_OLLAMA_LANG": "en"}, "en"),
    ],
    ids=str,
)
def test_chinese_unless_the_environment_names_another_language(environment: dict[str, str], language: str) -> None:
    assert language_of(environment, "linux") == language


def test_a_text_is_filled_and_an_unknown_key_still_says_something() -> None:
    words.use_language("en")
    assert t("time.seconds", seconds=3) == "3 s"
    assert t("no.such.key", name="x") == "no.such.key {'name': 'x'}"
    words.use_language("zh")
    assert t("time.seconds", seconds=3) == "3 秒"


@pytest.mark.parametrize(("rate", "text"), [(2e-4, "2e-4"), (1.5e-4, "1.5e-4"), (1e-5, "1e-5"), (0.01, "1e-2")])
def test_a_learning_rate_is_written_as_people_write_it(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.posix("the time zone of a process can't be changed here")
def test_times_are_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CST-8")
        time.tzset()
        assert local_time("2026-11-24T14:35:56+00:00") == "2026-11-24 22:35"
        assert local_time("2026-11-24T16:00:00+00:00") == "2026-11-25 00:00"
    time.tzset()

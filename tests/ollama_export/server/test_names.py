"""Model names: what Ollama accepts, what we propose instead, and the folder of a name."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_trainer.errors import UsageError
from ollama_export.server.names import check_name, folder_name, parse_name, propose_name, same_name
from tests.support.project import ROOT


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("zzhua", "zzhua"),
        ("zzhua:latest", "zzhua"),
        ("zzhua:v2", "zzhua:v2"),
        ("library/zzhua", "zzhua"),
        ("registry.ollama.ai/library/zzhua:latest", "zzhua"),
        ("me/zzhua:v2", "me/zzhua:v2"),
        ("localhost:5000/me/zzhua", "localhost:5000/me/zzhua"),
        ("https://example.com/me/zzhua:q8", "example.com/me/zzhua:q8"),
        ("_a.b-c", "_a.b-c"),
        ("a" * 80, "a" * 80),
        ("my-cloud", "my-cloud"),
        ("local", "local"),
    ],
)
def test_a_legal_name_gets_its_shortest_form(name: str, canonical: str) -> None:
    assert check_name(name) == canonical


@pytest.mark.parametrize(
    "name",
    ["", "林栀", "a b", " zzhua", "zzhua ", "-a", ".a", "a@b", "a:", ":a", "/a", "a/", "a.b/c", "a" * 81, "a\n", "é",
     "a:" + "b" * 81, "a:b:c", "zzhua:v 2", "a/b/c/d e"],
)  # fmt: skip
def test_an_illegal_name_is_refused_with_a_legal_proposal(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_name(name)
    assert caught.value.key == "error.name.illegal"
    assert check_name(caught.value.values["proposal"])


@pytest.mark.parametrize("tag", ["cloud", "local", "LOCAL", "q8-cloud", "Q8-Cloud"])
def test_tags_that_ollama_takes_for_routing_are_refused(tag: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_name(f"zzhua:{tag}")
    assert caught.value.key == "error.name.reserved_tag"
    assert caught.value.values["proposal"] == "zzhua"


def test_a_tag_leaves_room_for_the_staging_and_backup_tags() -> None:
    with pytest.raises(UsageError) as caught:
        check_name("zzhua:" + "v" * 51)
    assert caught.value.key == "error.name.long_tag" and check_name(caught.value.values["proposal"])
    longest = parse_name("zzhua:" + "v" * 50)
    assert longest and parse_name(longest.with_tag("backup-20261124-100000"))


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        ("林栀", "linzhi"),
        ("重庆小面", "chongqingxiaomian"),
        ("zzhua 林栀", "zzhua-linzhi"),
        ("my model", "my-model"),
        ("林栀v2", "linzhiv2"),
        ("ｚｚｈｕａ", "zzhua"),
        ("zzhua:新版 2", "zzhua:xinban-2"),
        ("ひらがな", "my-model"),
        ("小美/llama model", "llama-model"),
        ("a:b:c", "a:b-c"),
    ],
)
def test_the_proposal_keeps_what_is_ascii_and_spells_chinese(name: str, proposal: str) -> None:
    assert propose_name(name) == proposal


def test_without_the_package_for_pinyin_the_proposal_keeps_what_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    assert (propose_name("林栀"), propose_name("林栀 v2")) == ("my-model", "v2")


def test_the_package_for_pinyin_is_loaded_for_chinese_alone() -> None:
    program = "import sys; from ollama_export.server.names import *; propose_name(sys.argv[1]); print(*sys.modules)"
    for name, wanted in (("my model", False), ("林栀", True)):
        done = subprocess.run([sys.executable, "-c", program, name], cwd=ROOT, capture_output=True, encoding="utf-8")
        assert ("pypinyin" in done.stdout.split()) == wanted


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert propose_name("林栀", ["parrot"]) == "linzhi"
    assert propose_name("林栀", ["LinZhi:latest", "linzhi-2"]) == "linzhi-3"
    assert propose_name("zzhua:v2", ["zzhua"]) == "zzhua:v2"
    assert check_name(propose_name("a" * 200, [propose_name("a" * 200)]))


@given(st.text(max_size=120))
def test_every_proposal_is_a_legal_name(name: str) -> None:
    proposal = propose_name(name)
    assert check_name(proposal) == proposal
    assert folder_name(proposal)


def test_a_name_beside_another_keeps_the_tag_in_front() -> None:
    plain, tagged = parse_name("me/zzhua"), parse_name("zzhua:v2")
    assert plain and plain.with_tag("staging-7") == "me/zzhua:staging-7"
    assert tagged and tagged.with_tag("staging-7") == "zzhua:v2-staging-7"


def test_the_folder_of_a_name_is_one_for_every_spelling_and_legal_on_windows() -> None:
    assert folder_name("ZZhua:latest") == folder_name("zzhua") == "zzhua"
    assert folder_name("me/zzhua:v2") == "me+zzhua@v2"
    assert folder_name("con") == "con+"
    assert folder_name("aux.b:c") == "aux.b@c+"
    assert folder_name("zzhua.") == "zzhua.+"
    assert folder_name("console") == "console"


def test_ollama_does_not_tell_names_by_case_or_by_defaults() -> None:
    assert same_name("ZZhua", "library/zzhua:latest")
    assert not same_name("zzhua", "zzhua:v2")

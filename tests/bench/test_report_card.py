"""What docs/report-card.md says of the warnings is what the bench counts."""

from __future__ import annotations

from bench.report_card import counted, made, markdown
from tests.support.project import ROOT


def test_the_page_has_the_table_that_the_bench_prints() -> None:
    page = (ROOT / "docs/report-card.md").read_text(encoding="utf-8")
    assert markdown(counted(200, 1)) in page


def test_every_fault_is_planted_in_both_languages_and_none_in_some_sets() -> None:
    sets = [made(number, 1) for number in range(60)]
    assert {one.fault for one in sets} == {None, "copied", "repeats", "endless", "letters"}
    assert all(not any(one.planted) for one in sets if one.fault is None)
    assert {text.isascii() for one in sets for text in one.training[1:]} == {True, False}

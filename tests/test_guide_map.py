"""docs/guide-map.md names tests that there are, and places that there are."""

from __future__ import annotations

import re

import pytest

from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "guide-map.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if re.match(r"\| (?!指南|---)", line) and "|---" not in line]


def test_the_map_has_the_guides_lines() -> None:
    assert len(ROWS) >= 35
    for word in ("继续训练", "强制覆盖", "跳过训练", "取消操作", "增量训练", "调参重训", "数据增强", "自定义配置"):
        assert any(word in row[0] for row in ROWS), word


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][2:40])
def test_each_line_is_held_by_a_test(row: list[str]) -> None:
    file, _, name = row[2].rstrip(" |").strip("`").partition("::")
    assert (ROOT / file).is_file(), file
    assert re.search(rf"^def {re.escape(name)}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name
    for place in re.findall(r"[\w/]+\.(?:py|sh)", row[1]):
        assert (ROOT / place).is_file(), place

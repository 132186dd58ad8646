"""The pictures of README and guide are the program's screens of today, and ask nobody for anything."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from pyte.screens import Char
from rich.cells import cell_len

from tests.docs.blocks import PAGES
from tests.pictures.__main__ import NAMES, PICTURES, draw
from tests.pictures.drawing import svg, words_of

FILES = sorted(PICTURES.glob("*.svg"))
SAME_EVERYWHERE = [name for name in NAMES if name.startswith(("card.", "plan.", "history.", "comparison."))]
"""Pictures in which neither this machine nor the time of day is seen."""


def test_every_picture_is_drawn_by_the_script_and_shown_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = {Path(target).stem for target in re.findall(r"\]\(([^)]*pictures/[^)]+\.svg)\)", text)}
    assert {path.stem for path in FILES} == set(NAMES) == shown


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_picture_loads_nothing_and_stands_as_wide_as_its_cells(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert re.findall(r"https?://[^\"<\s]+", text) == ["http://www.w3.org/2000/svg"]
    assert "@font-face" not in text and "<script" not in text and "<image" not in text
    runs = re.findall(r'<text [^>]*textLength="([\d.]+)"[^>]*>(.*?)</text>', text)
    assert len(runs) > 10
    for width, run in runs:
        assert float(width) == pytest.approx(12.2 * cell_len(html.unescape(run)), rel=1e-4), run
    assert float(root.attrib["viewBox"].split()[2]) < 1010  # 80 cells


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize("name", SAME_EVERYWHERE)
def test_a_picture_shows_what_the_program_shows_now(tmp_path: Path, name: str) -> None:
    """Where this fails after a screen was changed: `python -m tests.pictures`."""
    kept = (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
    assert words_of(draw(name, tmp_path)) == words_of(kept)


def test_wide_and_narrow_characters_are_runs_of_their_own_each_where_it_stands() -> None:
    plain = Char(" ")
    row = [plain._replace(data=text) for text in ("a", "林", "", "─", "b", " ", "7", " ", " ", " ")]
    row[6] = row[6]._replace(fg="red", bold=True)
    drawn = svg([row, [plain] * len(row)], "t", "n")
    runs = [run for run in ET.fromstring(drawn).iter() if run.text and "textLength" in run.attrib]
    found = [(run.attrib["x"], run.attrib["textLength"], run.text) for run in runs]
    assert found[:4] == [("0", "12.2", "a"), ("12.2", "24.4", "林"), ("36.6", "12.2", "─"), ("48.8", "24.4", "b\xa0")]
    assert found[4] == ("73.2", "12.2", "7") and "font-weight: bold" in drawn
    assert words_of(drawn) == "a林─b7"

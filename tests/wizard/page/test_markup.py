"""Every text in a page is text: whatever it holds, it makes no markup, and what can't be shown is replaced."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wizard.page.records import HOSTILE
from wizard.page.markup import Markup, command_line, element, join, text

ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""Half surrogate pairs and control characters, too."""


class Read(HTMLParser):
    """What a browser's parser finds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.data += data


def unlike(code: int) -> bool:
    """Whether a character is one that no document may hold."""
    is_control = (code < 0x20 and code not in (9, 10)) or 0x7F <= code < 0xA0
    return is_control or 0xD800 <= code < 0xE000 or 0xFDD0 <= code < 0xFDF0 or code & 0xFFFE == 0xFFFE


@given(ANY_TEXT)
@example(HOSTILE)
def test_any_text_stays_text_for_a_browser_and_for_a_strict_parser(anything: str) -> None:
    page = element("p", anything)
    page.encode("utf-8")
    read, strict = Read(page), ET.fromstring(page)
    assert read.tags == ["p"] and len(strict) == 0
    assert read.data == (strict.text or "")
    assert not any(unlike(ord(character)) for character in read.data)
    lines = anything.replace("\r\n", "\n").replace("\r", "\n")
    assert len(read.data) == len(lines)
    shown = [(was, now) for was, now in zip(lines, read.data, strict=True) if not unlike(ord(was))]
    assert all(was == now for was, now in shown)


@given(ANY_TEXT)
@example(HOSTILE)
@example('" onload="alert(1)')
def test_any_attribute_stays_one_and_turns_no_direction(anything: str) -> None:
    page = element("p", title=anything)
    read, strict = Read(page), ET.fromstring(page)
    assert [name for name, _ in read.attributes] == ["title"] == list(strict.attrib)
    assert not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", read.attributes[0][1] or "")


def test_markup_stands_as_it_is_and_none_is_left_out() -> None:
    inner = element("b", "<", class_="x", aria_label=None, data_a=1)
    assert inner == '<b class="x" data-a="1">&lt;</b>'
    assert element("p", inner, None, 3) == f"<p>{inner}3</p>"
    assert element("meta", charset="utf-8") == '<meta charset="utf-8" />'
    assert join([inner, None, "&"]) == f"{inner}&amp;"
    # a text that was joined to markup is no markup any more
    assert not isinstance(Markup("<b>") + "<i>", Markup)


@pytest.mark.parametrize(("character", "shown"), [("\x00", "\u2400"), ("\x1b", "\u241b"), ("\x7f", "\u2421")])
def test_a_control_character_is_shown_as_its_picture(character: str, shown: str) -> None:
    assert text(character) == shown


@given(ANY_TEXT)
@example("python  a.py --system ' x'")
def test_a_command_is_copied_as_it_is(command: str) -> None:
    assert Read(command_line(command)).data == Read(element("p", command)).data

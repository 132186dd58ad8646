"""Markup: elements of a page, in which every text that isn't markup itself is escaped.

What comes out is HTML and well-formed XML at once, so that a browser and a strict parser read the same.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = ("meta", "br", "hr")
"""Elements that hold nothing."""
_BIDI_CONTROLS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_UNSHOWABLE = {
    **{code: chr(0x2400 + code) for code in range(0x20)},  # Unicode's pictures of control characters
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
    **dict.fromkeys(range(0xFDD0, 0xFDF0), "\ufffd"),
    **dict.fromkeys([plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)], "\ufffd"),
}
"""What can't stand in a document (XML 1.0, section 2.2, and HTML, section 13.1.4), and half surrogate pairs, which
UTF-8 doesn't have."""
del _UNSHOWABLE[0x09], _UNSHOWABLE[0x0A]


class Markup(str):
    """Text that is markup and stands in a page as it is."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any text as it can stand in a page: escaped, and what can't be shown replaced by what says so."""
    if isinstance(value, Markup):
        return value
    lines = str(value).replace("\r\n", "\n").replace("\r", "\n")
    return Markup(html.escape(lines.translate(_UNSHOWABLE)))


def plain(value: object) -> str:
    """Text without the marks that turn the direction of writing, for places that can't isolate it."""
    return str(value).translate(_BIDI_CONTROLS)


def join(parts: Iterable[object]) -> Markup:
    """Parts one behind the other."""
    return Markup("".join(text(part) for part in parts if part is not None))


def element(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element around `content`, each of it escaped where it isn't markup; None is left out, in attributes too.

    `class_` and `aria_label` are written as HTML has them: without the last underscore, with hyphens.
    """
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    written = "".join(f' {key}="{text(plain(value))}"' for key, value in named.items())
    if name in VOID:
        return Markup(f"<{name}{written} />")
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def command_line(command: str) -> Markup:
    """A command to copy, that is broken between its words only, where they aren't longer than a line."""
    words = [element("span", word) if word else None for word in command.split(" ")]
    return element("pre", element("code", Markup(" ".join(word or "" for word in words))))

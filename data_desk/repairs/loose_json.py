"""JSON as people write it by hand (RFC 8259 but for a few slips), and the edits that make it JSON.

Only slips that can be read in one way are known here: full-width quotation marks, colons, commas and blanks where a
mark of JSON stands, a comma behind the last item, a missing last bracket, line breaks inside a string, and objects
one behind the other. Anything else is Hopeless.
"""

from __future__ import annotations

import json
import re

from data_desk.repairs.edit import Edit

_DEEPEST = 40
_BLANK = re.compile(r"[ \t\r\n\u3000\u00a0\ufeff]*")
_WIDE_BLANK = re.compile(r"[\u3000\u00a0\ufeff]+")
_PLAIN = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_CONTROL = re.compile(r"[\0-\x1f]")
_QUOTE = re.compile(r"\\.|[“”\"]", re.DOTALL)
_COMMAS, _COLONS, _WIDE_QUOTES = ",，", ":：", "“”"
_CLOSES = re.compile(
    r"[ \t\r\n\u3000]*(?:[:：](?=[ \t\r\n\u3000]*[\"“”\[{\dtfn-])"
    r"|[,，](?=[ \t\r\n\u3000]*(?:[\"“”\[{}\]]|$))|[}\]]|$)"
)
"""What stands behind a quotation mark that ends a string: inside a text such a mark is followed by other words."""
_DECODER, _LENIENT = json.JSONDecoder(), json.JSONDecoder(strict=False)


class Hopeless(Exception):
    """No rule mends the text."""


def edits_of(text: str) -> list[Edit]:
    """What makes a text one array, or objects on lines of their own. Raises Hopeless."""
    reader = _Loose(text)
    reader.blanks()
    if reader.next() == "[":
        reader.value(0)
        reader.blanks()
        if reader.next():
            raise Hopeless
    else:
        reader.objects()
    return reader.edits


class _Loose:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.edits: list[Edit] = []

    def next(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def edit(self, repair: str, start: int, end: int, new: str) -> None:
        self.edits.append(Edit(repair, start, end, new))

    def blanks(self) -> None:
        match = _BLANK.match(self.text, self.at)
        assert match is not None
        for wide in _WIDE_BLANK.finditer(match[0]):
            self.edit("json_marks", self.at + wide.start(), self.at + wide.end(), " ")
        self.at = match.end()

    def objects(self) -> None:
        """One object, or several with a comma, a line break or nothing between them."""
        while True:
            if self.next() != "{":
                raise Hopeless
            self.value(0)
            start = self.at
            self.blanks()
            is_comma = self.next() != "" and self.next() in _COMMAS
            if is_comma:
                self.at += 1
                self.blanks()
            if not self.next():
                if is_comma:
                    self._replace("json_commas", start, self.at, "")
                return
            is_broken = "\n" in self.text[start : self.at]
            if is_comma or not is_broken:
                self._replace("json_commas" if is_broken else "json_two", start, self.at, "\n")

    def _replace(self, repair: str, start: int, end: int, new: str) -> None:
        """An edit in place of those that lie in it."""
        while self.edits and self.edits[-1].start >= start:
            self.edits.pop()
        self.edit(repair, start, end, new)

    def value(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise Hopeless
        opening = self.next()
        if depth <= 1 and opening == "{" and self._is_fine():
            return
        if opening == "{":
            self._items(depth, "}")
        elif opening == "[":
            self._items(depth, "]")
        elif opening and opening in '"“”':
            self._string()
        elif match := _PLAIN.match(self.text, self.at):
            self.at = match.end()
        else:
            raise Hopeless

    def _is_fine(self) -> bool:
        """Pass over an object that is JSON already."""
        try:
            _, self.at = _DECODER.raw_decode(self.text, self.at)
        except (ValueError, RecursionError):
            return False
        return True

    def _items(self, depth: int, closing: str) -> None:
        self.at += 1
        self.blanks()
        if self.next() == closing:
            self.at += 1
            return
        while True:
            if closing == "}":
                self._key()
            self.value(depth + 1)
            end = self.at
            self.blanks()
            mark = self.next()
            if mark and mark in _COMMAS:
                comma = self.at
                self.at += 1
                self.blanks()
                if self.next() in ("", closing):
                    self._replace("json_commas", comma, comma + 1, "")
                    mark, end = self.next(), comma + 1
                else:
                    if mark != ",":
                        self.edit("json_marks", comma, comma + 1, ",")
                    continue
            if mark == closing:
                self.at += 1
                return
            if mark:
                raise Hopeless
            # the innermost is closed first
            self.edit("json_bracket", end, end, closing)
            self.at = len(self.text)
            return

    def _key(self) -> None:
        if self.next() == "" or self.next() not in '"“”':
            raise Hopeless
        self._string()
        self.blanks()
        mark = self.next()
        if mark == "" or mark not in _COLONS:
            raise Hopeless
        if mark != ":":
            self.edit("json_marks", self.at, self.at + 1, ":")
        self.at += 1
        self.blanks()

    def _string(self) -> None:
        start = self.at
        if self.next() in _WIDE_QUOTES:
            self._wide_string(start)
            return
        try:
            _, self.at = _LENIENT.raw_decode(self.text, start)
        except ValueError as error:
            raise Hopeless from error
        self._escape_breaks(start + 1, self.at - 1)

    def _wide_string(self, start: int) -> None:
        for mark in _QUOTE.finditer(self.text, start + 1):
            if len(mark[0]) > 1 or not _CLOSES.match(self.text, mark.end()):
                continue
            self.edit("json_quotes", start, start + 1, '"')
            for inner in _QUOTE.finditer(self.text, start + 1, mark.start()):
                if inner[0] == '"':
                    self.edit("json_quotes", inner.start(), inner.end(), '\\"')
            self._escape_breaks(start + 1, mark.start())
            if mark[0] != '"':
                self.edit("json_quotes", mark.start(), mark.end(), '"')
            self.at = mark.end()
            return
        raise Hopeless

    def _escape_breaks(self, start: int, end: int) -> None:
        for found in _CONTROL.finditer(self.text, start, end):
            self.edit("json_breaks", found.start(), found.end(), json.dumps(found[0])[1:-1])

"""Columns of a terminal: how wide it is, how wide a text is, where a line may break."""

from __future__ import annotations

import os
import re


def terminal_width() -> int:
    """Columns to fill with text: COLUMNS, else the terminal's, between 40 and 100."""
    columns = os.environ.get("COLUMNS", "")
    try:
        wide = int(columns) if columns.isdigit() else os.get_terminal_size().columns
    except OSError:
        wide = 80
    return max(40, min(100, wide))


def cells(text: str) -> int:
    """Columns that `text` takes in a terminal (Chinese characters take two)."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def wrap(text: str, width: int) -> list[str]:
    """Break `text` at spaces, behind "|" and between wide characters; punctuation stays with its word."""
    if cells(text) <= width:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()))
    lines = [""]
    for piece in re.findall(r"\s*[（“]*(?:[!-{}~]+\|?|\S)[，。；：、）”！？…/]*", text):
        if lines[-1].strip() and cells(lines[-1] + piece) > width:
            lines.append(indent + piece.lstrip())
        else:
            lines[-1] += piece
    return lines


def paragraphs(text: str, width: int) -> list[str]:
    """The lines of `text`, each broken to `width`; an indented line is a command to copy and stays whole."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line] if line.startswith("  ") else wrap(line, width)
    return lines

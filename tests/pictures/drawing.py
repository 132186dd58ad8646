"""A terminal's screen as a picture: rich's SVG, with every character where it stands in the terminal."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from itertools import groupby

from pyte.screens import Char
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

FONTS = (
    "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Noto Sans Mono CJK SC', "
    "'Sarasa Mono SC', 'Microsoft YaHei', 'PingFang SC', monospace"
)
"""Those that systems bring with them: a picture asks nobody for a font."""
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", FONTS)
"""As rich has it, but for the fonts, which it would load from elsewhere, and an edge that cuts off the last line's
underscores.
"""
NAMES = {"brown": "yellow", "brightbrown": "bright_yellow"}
"""pyte's names of colours, where rich has others; its `brightred` is rich's `bright_red`."""


def svg(screen: Sequence[Sequence[Char]], title: str, name: str) -> str:
    """The rows of a screen as an SVG file, without the empty ones below; `name` keeps its parts apart from others'."""
    rows = [_segments(row) for row in screen]
    while rows and not any(segment.text.strip() for segment in rows[-1]):
        rows.pop()
    console = Console(width=len(screen[0]), record=True, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    for row in rows:
        console.print(Segments([*row, Segment.line()]), end="", soft_wrap=True)
    return _stretched(console.export_svg(title=title, code_format=SVG, unique_id=name))


def words_of(picture: str) -> str:
    """The text of a picture, line by line, without blanks."""
    rows: dict[float, list[str]] = {}
    for y, text in re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*clip-path[^>]*>(.*?)</text>', picture):
        rows.setdefault(float(y), []).append(html.unescape(text))
    return "\n".join("".join("".join(rows[y]).split()) for y in sorted(rows))


def _segments(row: Sequence[Char]) -> list[Segment]:
    """Runs of one look and one width of characters, so that no run's font can push the next one aside."""
    shown = [char for char in row if char.data]
    groups = groupby(shown, key=lambda char: (char._replace(data=""), _kind(char.data)))
    return [Segment("".join(char.data for char in run), _style(look)) for (look, _), run in groups]


def _kind(text: str) -> int:
    """0 for what every font of a terminal has in one width, 1 for what some have wider, 2 for two cells."""
    return cell_len(text) if not text.isascii() else 0


def _style(look: Char) -> Style:
    return Style(
        color=_color(look.fg),
        bgcolor=_color(look.bg),
        bold=look.bold,
        italic=look.italics,
        underline=look.underscore,
        reverse=look.reverse,
        strike=look.strikethrough,
    )


def _color(name: str) -> str | None:
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return NAMES.get(name, re.sub("^bright(?=[a-z])", "bright_", name))


def _stretched(picture: str) -> str:
    """Every run as wide as its cells, whatever font it is shown in; rich counts characters."""
    cell = 20 * 0.61

    def widened(found: re.Match[str]) -> str:
        width = cell * cell_len(html.unescape(found[3]))
        return f'{found[1]}textLength="{width:g}" lengthAdjust="spacingAndGlyphs"{found[2]}>{found[3]}</text>'

    return re.sub(r'(<text [^>]*?)textLength="[\d.]+"([^>]*)>(.*?)</text>', widened, picture)

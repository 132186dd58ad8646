"""Draws the screens of an evening as pictures: the real program in a pseudo-terminal, its cells in Chromium.

    python -m tests.screens_in_chromium [--out FOLDER] [--language zh|en] [--columns N] [--chromium PROGRAM]

Not part of the suite: it needs Chromium (`apt-get install chromium fonts-noto-cjk`) and somebody who looks. Trains a
tiny model, and writes a picture of each screen to FOLDER (default `screen-pictures`), in both languages and at 80 and
60 columns where not told otherwise. Each cell has its own place: a column that isn't straight is the program's fault.
"""

from __future__ import annotations

import argparse
import base64
import html
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.page_in_chromium import NAMES, Browser, browser
from tests.support.character import Character, trained
from tests.support.project import ROOT
from tests.support.terminal import CTRL_C, ENTER, Terminal
from tests.wizard.test_every_shape import Speaker
from tests.wizard.test_new_model import write_rows

ROWS = 24
FONT, CELL = 16, (8, 20)
"""Pixels: of the letters, and of one cell."""
COLOURS = {
    **{"black": "#000", "red": "#c33", "green": "#3a3", "brown": "#b80", "blue": "#46f", "magenta": "#b3b"},
    **{"cyan": "#2aa", "white": "#ddd", "brightblack": "#888", "default": "#ddd"},
}
Show = Callable[[str, Terminal], None]


def evening(place: Character, language: str, columns: int, show: Show) -> None:
    """Walk from screen to screen and show each by its name."""
    how = {"columns": columns, "language": language}

    def shown(say: Speaker, name: str, *keys: str) -> Speaker:
        say.hear(*keys).terminal.settled()
        show(name, say.terminal)
        return say

    said = {**place.program.environment, "TRAIN_TO_OLLAMA_LANG": language}
    with Terminal(["-m", "wizard.home"], columns=columns, environment=said, cwd=ROOT) as terminal:
        shown(Speaker(terminal, language), "home", "home.ask")
    with place.talk(**how) as terminal:
        say = shown(Speaker(terminal, language), "new-1-data", "menu.data.other").press(ENTER)
        shown(say, "new-2-name", "ask.name").press("linzhi", ENTER)
        shown(say, "new-2-base", "menu.base.typed").choose("menu.base.typed")
        say.hear("ask.base_model_text").press(str(place.program.base), ENTER)
        shown(say, "new-3-plan", "ask.review").choose("menu.review.change")
        shown(say, "new-3-change", "menu.plan.more").press(CTRL_C)
    with place.talk(OLLAMA_HOST="127.0.0.1:9", PATH=str(place.program.folder), **how) as terminal:
        shown(Speaker(terminal, language), "new-no-ollama", "menu.no_ollama.leave")
    with place.about(**how) as terminal:
        say = shown(Speaker(terminal, language), "continue-1-exists", "menu.exists.cancel").press("1", ENTER)
        shown(say, "continue-2-strategy", "ask.strategy").press("1", ENTER)
        shown(say, "continue-3-number", "ask.own_number").press("1", ENTER)
        shown(say, "continue-4-plan", "ask.review")
    gate = place.program.gate
    hold = ["-m", "tests.support.watchers", f"hold StepDone:8 {gate}"]
    flags = ["--ollama_name", place.name, "--add_epochs", "1", "--on_exists", "continue"]
    with Terminal([*hold, *flags], columns=columns, environment=said, cwd=place.program.folder) as terminal:
        say = Speaker(terminal, language).hear("ask.review").press(ENTER)
        # it moves all the time, so it never settles
        show("at-work", terminal.wait_for("8/12"))
        gate.unlink()
        shown(say, "comparison", "compare.keys").press(ENTER)
        shown(say, "decision", "menu.decide.again").press(ENTER)
        say.hear("ask.decision_note").press(ENTER)
        terminal.finish()
        show("last", terminal)


def page_of(terminal: Terminal) -> str:
    """A screen as HTML, each character in its own cell or two."""
    width, height = CELL
    lines = []
    for number, line in enumerate(terminal.lines):
        for column, cell in enumerate(line):
            if not cell.data.strip():
                continue
            wide = 2 if column + 1 < len(line) and not line[column + 1].data else 1
            colour = COLOURS.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 else COLOURS["default"])
            style = f"left:{column * width}px;top:{number * height}px;width:{wide * width}px;color:{colour}"
            lines.append(f'<i style="{style}{";font-weight:bold" if cell.bold else ""}">{html.escape(cell.data)}</i>')
    look = (
        f"body{{background:#111;margin:0;position:relative;font:{FONT}px/{height}px 'Noto Sans Mono CJK SC',monospace}}"
        f"i{{position:absolute;font-style:normal;white-space:pre;height:{height}px;overflow:hidden}}"
    )
    return f'<!doctype html><meta charset="utf-8"><style>{look}</style>{"".join(lines)}'


def take_picture(page: Browser, text: str, columns: int, picture: Path) -> None:
    """Let Chromium draw a page."""
    file = picture.with_suffix(".html")
    file.write_text(text, encoding="utf-8")
    size = {"width": columns * CELL[0], "height": ROWS * CELL[1]}
    page.events.clear()
    page.ask("Emulation.setDeviceMetricsOverride", deviceScaleFactor=1, mobile=False, **size)
    page.ask("Page.navigate", url=file.resolve().as_uri())
    page.until("Page.loadEventFired")
    picture.write_bytes(base64.b64decode(page.ask("Page.captureScreenshot")["data"]))
    file.unlink()


def main() -> int:
    """Draw all screens; 2 without a browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("screen-pictures"))
    parser.add_argument("--language", choices=("zh", "en"), action="append")
    parser.add_argument("--columns", type=int, action="append")
    parser.add_argument("--chromium", default=next((name for name in NAMES if shutil.which(name)), None))
    arguments = parser.parse_args()
    if arguments.chromium is None:
        sys.stderr.write("no Chromium here: apt-get install chromium\n")
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, trained(Path(folder)) as place, browser(arguments.chromium) as page:
        write_rows(place.program.folder / "data", 87, val=14)
        write_rows(place.program.folder / "data" / "shop", 8)
        for language in arguments.language or ("zh", "en"):
            for columns in arguments.columns or (80, 60):

                def show(
                    name: str, terminal: Terminal, shape: str = f"{language}-{columns}", columns: int = columns
                ) -> None:
                    picture = arguments.out / f"{shape}-{name}.png"
                    take_picture(page, page_of(terminal), columns, picture)
                    sys.stdout.write(f"{picture}\n")

                evening(place, language, columns, show)
    return 0


if __name__ == "__main__":
    sys.exit(main())

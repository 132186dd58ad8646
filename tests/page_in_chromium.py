"""Renders a run's page in a real browser at the widths of a phone and of a desk, light and dark, and looks at it.

    python -m tests.page_in_chromium [REPORT.html ...] [--out FOLDER] [--chromium PROGRAM]

Not part of the suite: it needs Chromium (`apt-get install chromium fonts-noto-cjk`). Without files it makes pages of
its own, in both languages: of a full record, of one that has next to nothing, and of one that holds the worst texts.
Writes a picture of each page, width and colour scheme to FOLDER (default `page-pictures`), and fails where a page is
wider than the screen, asks for anything but itself, runs a script, or makes the browser complain.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.wizard.page import records
from wizard import words
from wizard.page.report import write_report

WIDTHS = (390, 1200)
SCHEMES = ("light", "dark")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Browser:
    """A page of Chromium, spoken to by the DevTools protocol over two pipes (one JSON object and a NUL each)."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = os.fdopen(send, "wb"), os.fdopen(receive, "rb")
        self._numbers = itertools.count(1)
        self._rest = b""
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one request; events that come in between are kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        self._send.write(json.dumps(message).encode() + b"\0")
        self._send.flush()
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._receive.fileno(), 1 << 16)
            if not chunk:
                raise RuntimeError("Chromium has ended")
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def until(self, event: str) -> None:
        """Wait for an event."""
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self._read())

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page; the page's own policy doesn't bind the protocol."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """A Chromium without a window, and its end."""
    to_read, send = os.pipe()
    receive, to_write = os.pipe()

    def as_three_and_four() -> None:
        ours = os.dup(to_read), os.dup(to_write)  # one of them may be 3 or 4 itself
        os.dup2(ours[0], 3)
        os.dup2(ours[1], 4)

    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        flags += ["--disable-background-networking", "--no-first-run", "--remote-debugging-pipe", "about:blank"]
        child = subprocess.Popen(
            [program, *flags], preexec_fn=as_three_and_four, close_fds=False, stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(to_write)
        try:
            yield Browser(send, receive)
        finally:
            child.terminate()
            child.wait()


def look(page: Browser, file: Path, width: int, scheme: str, picture: Path) -> list[str]:
    """Load a file, take its picture, and say what is wrong with it."""
    page.events.clear()
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    page.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 500)
    page.ask("Emulation.setEmulatedMedia", features=media)
    page.ask("Page.navigate", url=file.resolve().as_uri())
    page.until("Page.loadEventFired")
    wide = page.value("document.documentElement.scrollWidth")
    tall = page.value("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(tall, 12_000), "scale": 1}
    shot = page.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    picture.write_bytes(base64.b64decode(shot["data"]))
    faults = [f"{wide} pixels wide"] if wide > width else []
    outside = [
        f"<{name}> reaches {right:.0f}"
        for name, right in page.value(
            "[...document.querySelectorAll('main *:not(svg *)')].map(e => [e.tagName, e.getBoundingClientRect().right])"
        )
        if right > width + 1
    ]
    faults += outside[:3]
    asked = [
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    ]
    faults += [f"asks for {url[:80]}" for url in asked if url != file.resolve().as_uri()]
    faults += [
        f"{event['method']}: {json.dumps(event['params'])[:300]}"
        for event in page.events
        if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    ]
    if page.value("document.scripts.length"):
        faults.append("holds a script")
    return faults


def own_pages(folder: Path) -> Iterator[Path]:
    """Pages of made-up records, in both languages."""
    for language in words.LANGUAGES:
        words.use_language(language)
        history, run = records.full(folder / language / "full")
        yield write_report(history, run)
        history, run = records.bare(folder / language / "bare")
        yield write_report(history, run)
        history, run = records.hostile(folder / language / "hostile")
        yield write_report(history, run)


def main() -> int:
    """Look at the pages; 1 where something is wrong with one, 2 without a browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("page-pictures"))
    parser.add_argument("--chromium", default=next((name for name in NAMES if shutil.which(name)), None))
    arguments = parser.parse_args()
    if arguments.chromium is None:
        sys.stderr.write("no Chromium here: apt-get install chromium\n")
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with tempfile.TemporaryDirectory() as made, browser(arguments.chromium) as page:
        for file in arguments.files or own_pages(Path(made)):
            name = "-".join(file.resolve().relative_to(Path(made).resolve()).parts[:2]) if not arguments.files else ""
            for width, scheme in itertools.product(WIDTHS, SCHEMES):
                picture = arguments.out / f"{name or file.parent.name}-{width}-{scheme}.png"
                faults = look(page, file, width, scheme, picture)
                wrong += bool(faults)
                sys.stdout.write(f"{picture}: {'; '.join(faults) or 'fine'}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Draws the pictures of README and guide from the program's own screens.

    python -m tests.pictures [NAME ...] [--out FOLDER]

Each NAME is a picture such as `home.zh`; without any all are drawn. They are written to docs/pictures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.pictures.drawing import svg
from tests.pictures.scenes import SCENES, Place
from tests.support.project import ROOT

PICTURES = ROOT / "docs" / "pictures"
NAMES = tuple(f"{scene}.{language}" for scene, row in SCENES.items() for language in row.languages)


def draw(name: str, folder: Path) -> str:
    """The picture `name`, taken in an empty folder, as SVG."""
    scene, _, language = name.partition(".")
    row = SCENES[scene]
    with closing(row.play(Place(folder, language, row.columns, row.rows))) as played:
        return svg(next(played).lines, row.title[language], name.replace(".", "-"))


def main() -> int:
    """Draw what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(NAMES))
    parser.add_argument("--out", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"no such picture: {' '.join(unknown)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            path = arguments.out / f"{name}.svg"
            path.write_text(draw(name, Path(folder)), encoding="utf-8", newline="\n")
            sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

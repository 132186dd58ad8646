"""What this machine has for the program: `python -m wizard.status`."""

from __future__ import annotations

import sys

from pipeline.machine import checks
from wizard.screen import output
from wizard.screen.screen import Screen


def main() -> int:
    """Show the status; always 0: a lack is something to read, not a failure."""
    output.never_fail_on_characters()
    screen = Screen()
    for check in checks():
        screen.listen(check)
    return 0


if __name__ == "__main__":
    sys.exit(main())

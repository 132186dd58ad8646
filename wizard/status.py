"""What this machine has for the program: `python -m wizard.status`, with `--names` only the models' names."""

from __future__ import annotations

import sys

from lora_trainer.errors import UserError
from pipeline.machine import checks, model_names
from wizard.screen import output
from wizard.screen.screen import Screen


def main(arguments: list[str]) -> int:
    """Show the status, or print one name a line; always 0: a lack is something to read, not a failure."""
    output.never_fail_on_characters()
    if "--names" in arguments:
        try:
            # a screen only where there is something to say: it takes longer than the names
            names = model_names(lambda event: Screen(to_stderr=True).listen(event))
            output.write("".join(f"{name}\n" for name in names))
        except UserError as error:
            Screen(to_stderr=True).error(error)
        return 0
    screen = Screen()
    for check in checks():
        screen.listen(check)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

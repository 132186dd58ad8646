"""Teach a small chat model from your own dialogues and register it in Ollama: the command line entry."""

from __future__ import annotations

import os
import sys
from itertools import pairwise

TYPE_CHECKING = False  # typing alone would be a sixth of what `--help` may take
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wizard.screen.screen import Screen


class Stop:
    """Ctrl-C and SIGTERM: in a training the first one asks to stop at the next step, all others abort at once."""

    def __init__(self) -> None:
        self.requested = False
        self.training: Callable[[], bool] = lambda: False

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.requested

    def handle(self, number: int, frame: object) -> None:  # noqa: ARG002
        """Take a signal."""
        if self.training() and not self.requested:
            self.requested = True
        else:
            raise KeyboardInterrupt

    def listen(self) -> None:
        """Take the signals from now on."""
        import signal

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle)


def main(argv: list[str] | None = None) -> int:
    """Run the program with `argv` (without the program's name) and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    from wizard.screen import output

    output.never_fail_on_characters()
    try:
        _choose_language(argv)
        if "--help" in argv or "-h" in argv:
            from wizard.command_line import help_text

            output.write(help_text())
            return 0
        return _run(argv)
    except BrokenPipeError:
        # Whoever read our output has gone (as `head` does): nothing to say, and nobody to say it to.
        output.drop_stdout()
        return 1


def _choose_language(argv: list[str]) -> None:
    from wizard import words

    named = [after for word, after in pairwise(argv) if word == "--lang"]
    named += [word.removeprefix("--lang=") for word in argv if word.startswith("--lang=")]
    language = named[-1] if named and named[-1] in words.LANGUAGES else words.language_of(os.environ)
    words.use_language(language)


def _run(argv: list[str]) -> int:
    from wizard.screen.screen import Screen

    stop = Stop()
    json = "--json" in argv
    # Under `accelerate launch` one process speaks for all.
    quiet = os.environ.get("RANK", "0") != "0"
    screen = Screen(to_stderr=json, quiet=quiet, stopping=stop)
    # The others end where the first one does: at the same step.
    stop.training = lambda: quiet or screen.training
    stop.listen()

    def work() -> dict[str, Any]:
        from wizard.command_line import parse

        request = parse(argv)
        from wizard import prompts
        from wizard.run import run

        if json or quiet:
            prompts.forbid()
        return run(request, screen, stop)

    result = guarded(work, screen, debug="--debug" in argv)
    if json and not quiet:
        from wizard.screen import output

        output.write_json(result)
    return int(result["exit_code"])


def guarded(work: Callable[[], dict[str, Any]], screen: Screen, debug: bool = False) -> dict[str, Any]:
    """The one error boundary: what `work` returns, or its failure shown on the screen; both as a JSON object."""
    try:
        return {"ok": True, "exit_code": 0, **work()}
    except (BrokenPipeError, SystemExit):
        raise
    except (Exception, KeyboardInterrupt) as error:
        from lora_trainer.errors import Interrupted, UserError, as_disk_error, as_memory_error
        from wizard.words import t

        if debug:
            import traceback

            screen.traceback(traceback.format_exc())
        failure: UserError
        if isinstance(error, UserError):
            failure, code = error, error.exit_code
        elif isinstance(error, KeyboardInterrupt):
            failure, code = Interrupted("error.interrupted"), Interrupted.exit_code
        elif lack := as_disk_error(error) or as_memory_error(error):
            failure, code = lack, lack.exit_code
        else:
            failure, code = UserError("error.bug", kind=type(error).__name__, reason=str(error) or "-"), 1
        screen.error(failure)
        told: dict[str, Any] = {"key": failure.key, "message": t(failure.key, **failure.values)}
        if "findings" in failure.values:
            told["findings"] = [
                {"file": found.file, "line": found.line, "message": t(found.key, **found.values)}
                for found in failure.values["findings"]
            ]
        return {"ok": False, "exit_code": code, "error": told}


if __name__ == "__main__":
    sys.exit(main())

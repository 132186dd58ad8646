"""Teach a small chat model from your own dialogues and register it in Ollama: the command line entry."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing alone would be a sixth of what `--help` may take
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wizard.screen.screen import Screen


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
        from wizard import interpreter

        if "--version" in argv and sys.version_info >= interpreter.OLDEST:  # an older one can't read where it stands
            from pipeline.run.record import version

            output.write(f"Train to Ollama {version()}\n")
            return 0
        fault = interpreter.fault(argv)
        return _run(argv) if fault is None else interpreter.tell(*fault, json="--json" in argv)
    except BrokenPipeError:
        # Whoever read our output has gone (as `head` does): nothing to say, and nobody to say it to.
        output.drop_stdout()
        return 1


def _choose_language(argv: list[str]) -> None:
    from wizard import words

    named = [after for word, after in zip(argv, argv[1:]) if word == "--lang"]  # noqa: B905, RUF007 (also Python 3.8)
    named += [word[len("--lang=") :] for word in argv if word.startswith("--lang=")]
    language = named[-1] if named and named[-1] in words.LANGUAGES else words.language_of(os.environ)
    words.use_language(language)


def _run(argv: list[str]) -> int:
    from wizard.screen.screen import Screen
    from wizard.stop import Stop

    stop = Stop()
    json = "--json" in argv
    # Under `accelerate launch` one process speaks for all.
    quiet = os.environ.get("RANK", "0") != "0"
    debug = "--debug" in argv
    # the demo's: it shows by itself what comes before and after
    brief = bool(os.environ.pop("TRAIN_TO_OLLAMA_BRIEF", ""))
    screen = Screen(
        to_stderr=json, quiet=quiet, details=debug, brief=brief, stopping=stop.was_heard, attend=stop.attend
    )
    # Several end together, at the same step, so none of them alone while it loads what it trains.
    together = os.environ.get("WORLD_SIZE", "1") != "1"
    stop.training = lambda: quiet or screen.training or (together and screen.stage == "train")
    stop.listen()

    def work() -> dict[str, Any]:
        from wizard.command_line import parse

        request = parse(argv)
        from wizard import prompts
        from wizard.run import run

        if json or quiet:
            prompts.forbid()
        return run(request, screen, stop)

    result = guarded(work, screen, debug=debug, stopped=stop)
    if json and not quiet:
        from wizard.screen import output

        output.write_json(result)
    return int(result["exit_code"])


def guarded(
    work: Callable[[], dict[str, Any]],
    screen: Screen,
    debug: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """The one error boundary: what `work` returns, or its failure shown on the screen; both as a JSON object.

    `stopped`: whether a stop was asked for, which a library may have made an error of its own.
    """
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
        elif isinstance(error, KeyboardInterrupt) or stopped():
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
        return {"ok": False, "exit_code": code, "error": told, **failure.values.get("result", {})}


if __name__ == "__main__":
    sys.exit(main())

"""Commands as this user can type them: the way in which this program was started, from the folder where that was."""

from __future__ import annotations

import os

from wizard.started import ROOT, SCRIPT, line, near, python, quick_start

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.request import Request


def command(*flags: str) -> str:
    """A command that runs this program with `flags`, to be copied into the shell that it was started from."""
    script = os.environ.get(SCRIPT)
    if not script:
        return line([python(), near(os.path.join(ROOT, "train_to_ollama.py")), *flags])  # noqa: PTH118
    words = list(flags)
    for flag, number in (("--continue_train", "3"), ("--compare_only", "4"), ("--chat", "7")):
        if flag in words and "--ollama_name" in words:
            at = words.index("--ollama_name")
            name = words[at + 1]
            del words[at : at + 2]
            words.remove(flag)
            return quick_start(number, name, *words)
    if "--clean" in words:
        words.remove("--clean")
        return quick_start("8", *words)
    return quick_start("1", *words)


def words_of(request: Request) -> list[str]:
    """The flags that ask for a request: `wizard.command_line.parse` makes the same one of them."""
    from pipeline.flags import FLAGS

    words = []
    for flag in FLAGS:
        value = getattr(request, flag.name)
        if value is None or value is False:
            continue
        name = flag.option
        if flag.kind == "switch":
            words.append(name)
            continue
        if flag.kind == "paths":
            # a file whose name begins like a flag is named from here
            words += [name, *(f"./{path}" if str(path).startswith("-") else str(path) for path in value)]
            continue
        text = _number(flag.name, value) if flag.kind == "float" else str(value)
        # behind a blank it would be taken for the next flag
        words += [f"{name}={text}"] if text.startswith("-") else [name, text]
    return words


def _number(name: str, value: float) -> str:
    """A number as people write it, where that is the same number."""
    from wizard.words import rate_text

    short = rate_text(value) if name == "learning_rate" and value > 0 else f"{value:g}"
    return short if float(short) == value else repr(float(value))


def command_of(request: Request, environment: Mapping[str, str] | None = None) -> str:
    """A command that asks for a request, in an environment that has more variables than this one."""
    told = command(*words_of(request))
    for name, value in (environment or {}).items():
        told = f"{name}={value} {told}" if os.name == "posix" else f"set {name}={value}&& {told}"
    return told

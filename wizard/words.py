"""Every visible word: t(key, **values) says it in the user's language."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from datetime import datetime

LANGUAGES = ("zh", "en")
VARIABLE = "TRAIN_TO_OLLAMA_LANG"

_SCRIPT = "./quick_start.sh"
"""As it stands in a text: it is said as this user can type it."""
_texts: dict[str, str] = {}
_spoken: list[str] = []


def t(key: str, /, **values: object) -> str:
    """The text under `key`, filled with `values`; a key without a text is shown as it is, with its values."""
    if not _texts:
        use_language(language_of(os.environ))
    text = _texts.get(key)
    if text is None:
        return f"{key} {values}" if values else key
    if _SCRIPT in text:
        from wizard.started import quick_start

        script = quick_start()
        text = text.replace(_SCRIPT, script.replace("{", "{{").replace("}", "}}") if values else script)
    return text.format(**values) if values else text


def knows(key: str) -> bool:
    """Whether there is a text under `key`: a record of another version may name one that this version hasn't."""
    if not _texts:
        use_language(language_of(os.environ))
    return key in _texts


def use_language(language: str) -> None:
    """Speak `language` from now on."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "texts")  # noqa: PTH100, PTH118, PTH120
    with open(os.path.join(folder, f"{language}.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        texts = json.load(file)
    _texts.clear()
    _texts.update(texts)
    _spoken[:] = [language]


def spoken() -> str:
    """The language that is spoken, of LANGUAGES."""
    if not _spoken:
        use_language(language_of(os.environ))
    return _spoken[0]


def language_of(environment: Mapping[str, str], platform: str = sys.platform) -> str:
    """Chinese, unless the program's own variable or the locale names another language."""
    own = environment.get(VARIABLE, "")
    if own:
        return "zh" if own.lower().startswith("zh") else "en"
    locale = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    if not locale and platform == "win32":
        locale = windows_locale()
    plain = locale.partition(".")[0].upper()
    return "zh" if plain in ("", "C", "POSIX") or plain.startswith("ZH") else "en"


def windows_locale() -> str:
    """The language of the Windows desktop, as in "zh_CN"; the variables of POSIX are seldom set there."""
    import ctypes
    import locale

    number = ctypes.windll.kernel32.GetUserDefaultUILanguage()  # type: ignore[attr-defined, unused-ignore]
    return locale.windows_locale.get(number, "")


def local_time(utc: str) -> str:
    """The user's own date and time of a record's ISO 8601: 2026-11-24 22:35."""
    from datetime import datetime

    return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M")


def spoken_time(utc: str, now: datetime | None = None) -> str:
    """The user's own date and time of a record's ISO 8601 as people say it: 昨天 21:04, 11-20 19:30, 2025-11-20.

    `now` is by default the present; what can't be read is "-".
    """
    from datetime import datetime

    now = now or datetime.now().astimezone()
    try:
        then = datetime.fromisoformat(utc).astimezone(now.tzinfo)
    except ValueError:
        return "-"
    days = (now.date() - then.date()).days
    if days in (0, 1):
        return t("time.today" if days == 0 else "time.yesterday", clock=f"{then:%H:%M}")
    return f"{then:%m-%d %H:%M}" if then.year == now.year else f"{then:%Y-%m-%d}"


def rate_text(rate: float) -> str:
    """A learning rate as people write it: 2e-4."""
    mantissa, exponent = f"{rate:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"

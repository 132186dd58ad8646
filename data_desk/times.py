"""Times as chat logs write them: 24-hour and 12-hour clocks, numbers of seconds, ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime

_MORNING = ("am", "上午", "早上", "凌晨")
_AFTERNOON = ("pm", "下午", "晚上", "中午")


def time_of(day: tuple[int, int, int], clock: str, half: str = "") -> datetime | None:
    """A time from year, month and day, "9:05" or "21:05:00", and "PM", "下午" or nothing; None where there is none."""
    try:
        hour, minute, second = [*map(int, clock.replace(".", ":").split(":")), 0][:3]
        half = half.lower().replace(".", "").replace(" ", "").replace("\u202f", "").replace("\xa0", "")
        if half in _MORNING and hour == 12:
            hour = 0
        elif half in _AFTERNOON and hour < 12 and not (half == "中午" and hour == 11):
            hour += 12
        year = day[0] + 2000 if day[0] < 100 else day[0]
        return datetime(year, day[1], day[2], hour, minute, second)
    except (ValueError, OverflowError):
        return None


def time_of_text(text: str) -> datetime | None:
    """A time as in "2024-01-01 10:00:00" or ISO 8601; None where it is none."""
    try:
        return datetime.fromisoformat(text.strip().replace("/", "-")).replace(tzinfo=None)
    except ValueError:
        return None


def time_of_seconds(seconds: object) -> datetime | None:
    """A time from seconds (or milliseconds) since 1970, as a number or its digits; None where it is none."""
    try:
        number = float(str(seconds))
        number = number / 1000 if number > 1e11 else number
        return datetime.fromtimestamp(number, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return None

"""Private details in texts, and stand-ins for them: the same thing has the same stand-in wherever it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from data_desk.dialogue import Dialogue, is_chinese
from data_desk.privacy.details import DETAILS, LABELS, Detail
from lora_trainer.data.formats import read_row


class StandIns:
    """Replaces details by stand-ins such as 〔电话1〕, and counts them."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        """Kind -> how often one was replaced."""
        self._known: dict[tuple[str, str], str] = {}
        self._numbers: Counter[str] = Counter()
        self._details = list(DETAILS)
        if listed := sorted({name for name in names if name}, key=len, reverse=True):
            # of a name in letters, whole words alone
            words = [rf"(?<!\w){re.escape(name)}(?!\w)" if name.isascii() else re.escape(name) for name in listed]
            needs = tuple(name.lower() for name in listed)
            self._details.insert(0, Detail("name", needs, re.compile("|".join(words))))
        self._hint = _any_of({needed for detail in self._details for needed in detail.needs})

    def replace(self, text: str) -> str:
        """The text with a stand-in for every detail."""
        lower = text.lower()
        if not self._hint.search(lower):
            return text
        chinese = is_chinese(text)
        for detail in self._details:
            if any(needed in lower for needed in detail.needs):
                text = detail.pattern.sub(lambda found, kind=detail.kind: self._replaced(kind, found, chinese), text)  # type: ignore[misc]
        return text

    def in_dialogue(self, dialogue: Dialogue) -> Dialogue:
        """The same dialogue with stand-ins; a system prompt has its, too."""
        if dialogue.row is not None:
            row = self._in_values(dialogue.row)
            return dialogue if row == dialogue.row else Dialogue(tuple(read_row(row).messages), row)
        return Dialogue(
            tuple({**message, "content": self.replace(message["content"])} for message in dialogue.messages)
        )

    def _in_values(self, values: Any) -> Any:
        if isinstance(values, str):
            return self.replace(values)
        if isinstance(values, list):
            return [self._in_values(value) for value in values]
        if isinstance(values, Mapping):
            return {key: self._in_values(value) for key, value in values.items()}
        return values

    def _replaced(self, kind: str, found: re.Match[str], chinese: bool) -> str:
        whole = found[0]
        detail = found[1] if found.re.groups else whole
        if kind == "card" and not _is_card(detail):
            return whole
        plain = re.sub(r"[\s()（）-]", "", detail)
        key = kind, re.sub(r"^\+?86(?=1\d{10}$)", "", plain).casefold()
        if key not in self._known:
            self._numbers[kind] += 1
            self._known[key] = f"〔{LABELS[kind][0 if chinese else 1]}{self._numbers[kind]}〕"
        self.counts[kind] += 1
        at = whole.rindex(detail)
        return whole[:at] + self._known[key] + whole[at + len(detail) :]


def _any_of(needs: set[str]) -> re.Pattern[str]:
    """Finds whichever of some texts there is; those of one character together, which is one look at each character."""
    single = "".join(re.escape(needed) for needed in sorted(needs) if len(needed) == 1)
    longer = [re.escape(needed) for needed in sorted(needs) if len(needed) > 1]
    return re.compile("|".join([*([f"[{single}]"] if single else []), *longer]))


def _is_card(digits: str) -> bool:
    """Whether it can be a bank card's number: its last digit proves the others (ISO/IEC 7812-1, annex B)."""
    plain = [int(digit) for digit in digits if digit.isdigit()][::-1]
    doubled = [sum(divmod(digit * 2, 10)) for digit in plain[1::2]]
    return 13 <= len(plain) <= 19 and (sum(plain[::2]) + sum(doubled)) % 10 == 0

"""The one exception that becomes an answer."""

from __future__ import annotations


class ApiError(Exception):
    """An error answer: `{"error": text}` with a status, or a line of a stream that has begun."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status

"""Chat templates that the tests judge on: real ones, and one for each oddity, and conversations to render."""

from __future__ import annotations

import json

from tests.support.project import TESTS

DATA = TESTS / "data"
REAL = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DATA / "chat_templates").glob("*.jinja"))}
"""From llama.cpp (MIT, its licence lies beside them)."""
ODD = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DATA / "odd_templates").glob("*.jinja"))}
CONVERSATIONS = json.loads((DATA / "conversations.json").read_text(encoding="utf-8"))

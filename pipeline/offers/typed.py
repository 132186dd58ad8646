"""What was typed, pasted or dragged into a field, as it was meant; and a base model checked where it was typed."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lora_trainer.errors import BaseModelError
from lora_trainer.models.source import absolute_source, check_hub_id, look_for_base_model
from pipeline.offers.base_models import recommended

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient

_QUOTES = {"'": "'", '"': '"', "“": "”", "‘": "’", "「": "」"}
_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?P<site>huggingface\.co|hf\.co|hf-mirror\.com|modelscope\.cn|modelscope\.com)/"
    r"(?:models/)?(?P<id>[\w.-]+/[\w.-]+)(?:[/?#].*)?",
    re.ASCII,
)


def clean_word(word: str) -> str:
    """A word without what dragging or pasting puts around it: blanks, quotes, `file://`, a backslash before a blank.

    What is there as it was typed stays so: a path may hold quotes, blanks and backslashes.
    """
    word = word.strip().strip("\u200b\ufeff\u202a")
    if _is_there(word):
        return word
    # PowerShell's
    word = word.removeprefix("& ").strip()
    if word.lower().startswith("file://"):
        parts = urlsplit(word)
        # file:///C:/… on Windows
        path = unquote(parts.path)
        return path[1:] if os.name == "nt" and re.match(r"/[A-Za-z]:", path) else path
    if os.name != "nt" and any(mark in word for mark in "'\"\\"):
        try:
            words = shlex.split(word)
        except ValueError:
            words = []
        if len(words) == 1:
            return words[0]
    if len(word) > 1 and _QUOTES.get(word[0]) == word[-1]:
        return word[1:-1].strip()
    return word


def clean_path(word: str) -> Path:
    """The path that was meant, `~` in it replaced."""
    path = Path(clean_word(word))
    try:
        return path.expanduser()
    except RuntimeError:  # ~somebody, who isn't here
        return path


def _is_there(word: str) -> bool:
    try:
        return bool(word) and Path(word).exists()
    except (OSError, ValueError):
        return False


def check_base(word: str, *, client: OllamaClient | None = None, online: bool | None = None) -> str:
    """The base model that was meant, as for --base_model.

    Raises the UserError that is told at the field: BaseModelError, or OllamaError where that doesn't answer or has no
    such model. A path is looked into, a model in Ollama is looked up in `client` (this machine's by default), and a hub
    model by its configuration where the hub is known to answer (`online`); else only its form is looked at.
    """
    source = _meant(clean_word(word))
    if source.startswith("~"):
        source = str(clean_path(source))
    if source.startswith("ollama:"):
        look_for_base_model(source, ollama_blob=_client(client).blob_path)
        return source
    if not _is_there(source) and not source.startswith("modelscope:"):
        check_hub_id(source)
        if not online:
            return source
    look_for_base_model(source)
    return absolute_source(source)


def _meant(word: str) -> str:
    """An address of a model's page is its id, a recommended model's name its id."""
    if page := _PAGE.fullmatch(word):
        return f"modelscope:{page['id']}" if page["site"].startswith("modelscope") else page["id"]
    if not word.startswith(("ollama:", "modelscope:")) and not _is_there(str(clean_path(word))):
        row = recommended(word)
        return row.source if row else word
    if not word.partition(":")[2].strip() and word.startswith(("ollama:", "modelscope:")):
        raise BaseModelError("error.base_model.no_such_path", source=word)
    return word


def _client(client: OllamaClient | None) -> OllamaClient:
    from ollama_export.server.client import OllamaClient

    return client or OllamaClient()

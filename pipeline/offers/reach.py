"""Whether the hub answers, asked in the background; and the other ways to a model where it doesn't."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.offers.downloaded import is_downloaded

HUB = "https://huggingface.co"
MIRROR = "https://hf-mirror.com"
_SECONDS = 4.0
"""Without an answer for so long, there is none."""


def endpoint() -> str:
    """Where the hub is, as HF_ENDPOINT says."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def ask_hub() -> HubReach:
    """Begin to ask; returns at once."""
    return HubReach()


class HubReach:
    """Whether the hub answers."""

    def __init__(self) -> None:
        self.endpoint = endpoint()
        self._answers: bool | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def now(self) -> bool | None:
        """Whether it answers; None while that isn't known. Never waits."""
        return self._answers

    def wait(self, seconds: float = _SECONDS) -> bool | None:
        """The same after at most so long."""
        self._thread.join(seconds)
        return self._answers

    def _ask(self) -> None:
        if any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in _OFFLINE):
            self._answers = False
            return
        import requests

        try:
            # a portal in between answers everything, with a page
            answer = requests.head(
                f"{self.endpoint}/api/models/Qwen/Qwen2.5-0.5B-Instruct", timeout=_SECONDS, allow_redirects=True
            )
            self._answers = answer.status_code < 500 and "html" not in answer.headers.get("content-type", "")
        except (requests.exceptions.RequestException, ValueError):
            self._answers = False


_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Way:
    """Another way to a hub model."""

    key: str
    """modelscope or mirror."""
    source: str
    """As for --base_model."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What has to be set for it."""
    lacks: str | None = None
    """The package that is missing for it."""

    def take(self) -> str:
        """Set the environment, for this process and its children; the source."""
        os.environ.update(self.environment)
        return self.source


def other_ways(source: str) -> list[Way]:
    """The ways to a hub model around a hub that doesn't answer; none for what is no hub model, or is here already."""
    from lora_trainer.errors import BaseModelError
    from lora_trainer.models.source import absolute_source, check_hub_id

    if ":" in source or absolute_source(source) != source or is_downloaded(source):
        return []
    try:
        check_hub_id(source)
    except BaseModelError:
        return []
    ways = []
    if "/" in source:
        lacks = None if importlib.util.find_spec("modelscope") else "modelscope"
        ways.append(Way("modelscope", f"modelscope:{source}", lacks=lacks))
    if endpoint() != MIRROR:
        ways.append(Way("mirror", source, {"HF_ENDPOINT": MIRROR}))
    return ways

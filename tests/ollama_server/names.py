"""Model names: `[[scheme://]host/][namespace/]model[:tag]`, and the routing suffixes `:local` and `:cloud`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG = "registry.ollama.ai", "library", "latest"
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", re.ASCII)


@dataclass(frozen=True)
class Name:
    host: str
    namespace: str
    model: str
    tag: str

    @property
    def is_valid(self) -> bool:
        checks = ((HOST, self.host), (NAMESPACE, self.namespace), (PART, self.model), (PART, self.tag))
        return all(pattern.fullmatch(part) for pattern, part in checks)

    @property
    def path(self) -> Path:
        return Path(self.host, self.namespace, self.model, self.tag)

    @property
    def shortest(self) -> str:
        """The name as listed: host and namespace only where they are not the default; always with the tag."""
        prefix = ""
        if self.host.lower() != DEFAULT_HOST:
            prefix = f"{self.host}/{self.namespace}/"
        elif self.namespace.lower() != DEFAULT_NAMESPACE:
            prefix = f"{self.namespace}/"
        return f"{prefix}{self.model}:{self.tag}"


def _cut_last(text: str, separator: str) -> tuple[str, str, bool]:
    before, found, after = text.rpartition(separator)
    # An empty part next to a separator was promised and is missing: it must not become a default.
    return (before or "!MISSING!", after or "!MISSING!", True) if found else (text, "", False)


def parse_name(text: str) -> Name:
    host, namespace, tag = "", "", ""
    if text.rfind(":") > text.rfind("/"):
        text, tag, _ = _cut_last(text, ":")
    rest, model, more = _cut_last(text, "/")
    if not more:
        model = rest
    else:
        rest, namespace, more = _cut_last(rest, "/")
        if not more:
            namespace = rest
        else:
            host = rest.partition("://")[2] if "://" in rest else rest
    return Name(host or DEFAULT_HOST, namespace or DEFAULT_NAMESPACE, model, tag or DEFAULT_TAG)


def existing_spelling(name: Name, stored: Iterable[Name]) -> Name:
    """Each part in the spelling of a stored name where the two differ only in case."""
    for other in stored:
        for part in ("host", "namespace", "model", "tag"):
            theirs = getattr(other, part)
            if theirs.lower() == getattr(name, part).lower():
                name = replace(name, **{part: theirs})
    return name


class BadReference(Exception):
    """A model reference that can't be used; the text is Ollama's."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind
        """"required", "conflict" or "invalid"."""


def _suffix(text: str) -> tuple[str, str]:
    base, colon, suffix = text.rpartition(":")
    suffix = suffix.strip()
    if colon and suffix.lower() in ("cloud", "local"):
        return base, suffix.lower()
    if colon and "/" not in suffix and suffix.lower().endswith("-cloud"):
        return f"{base}:{suffix[: -len('-cloud')]}", "cloud"
    return text, ""


def parse_reference(text: str) -> tuple[Name, str, str]:
    """The name, its text without a routing suffix, and the suffix ("", "local", "cloud"). Raises BadReference."""
    text = text.strip()
    if not text:
        raise BadReference("model is required", "required")
    base, source = _suffix(text)
    if source and _suffix(base)[1]:
        raise BadReference(f'use either :local or :cloud, not both: "{text}"', "conflict")
    name = parse_name(base)
    if not name.is_valid:
        raise BadReference("invalid model name", "invalid")
    return name, base, source

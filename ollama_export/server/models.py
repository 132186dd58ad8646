"""What an Ollama has: its models, what it tells of them, and where it keeps their files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lora_trainer.errors import BaseModelError
from ollama_export.server.names import same_name
from ollama_export.server.transport import CONNECT_SECONDS, Refused, Transport

SERVICE_STORE = Path("/usr/share/ollama/.ollama/models")
"""Of the service that Ollama's installer sets up on Linux."""


RUNNERS = ("llamacpp", "ggml")
"""Those that read a GGUF, the better one first."""


class StoredModels:
    """The part of the API that changes nothing: `host` written like OLLAMA_HOST, by default what that variable says."""

    def __init__(self, host: str | None = None) -> None:
        self._http = Transport(host)
        self.host = self._http.host
        self.given = self._http.given
        self.is_local = self._http.is_local

    def version(self) -> str:
        """The server's version; raises OllamaError("error.ollama.unreachable") where nobody listens."""
        return str(self._http.json("GET", "/api/version", timeout=(CONNECT_SECONDS, 10.0)).get("version", ""))

    def tags(self) -> list[dict[str, Any]]:
        """All models, newest first: `name` with its tag, `digest` (hex, the manifest's), `size` in bytes, `details`.

        Of a name that has one for each of several runners, that for llama.cpp. Raises OllamaError where the server
        can't be reached; so do the calls below.
        """
        rows: dict[str, dict[str, Any]] = {}
        for row in self._http.json("GET", "/api/tags").get("models") or []:
            if row["name"] not in rows or _rank(row) < _rank(rows[row["name"]]):
                rows[row["name"]] = row
        return list(rows.values())

    def digest(self, name: str) -> str | None:
        """The manifest's digest (hex) of a model; None where there is none of that name."""
        return next((model["digest"] for model in self.tags() if same_name(model["name"], name)), None)

    def exists(self, name: str) -> bool:
        """Is there a model of that name?"""
        return self.digest(name) is not None

    def show(self, name: str) -> dict[str, Any]:
        """What /api/show tells of a model; raises Refused("error.ollama.model_missing")."""
        return self._http.json("POST", "/api/show", {"model": name})

    def loaded_context(self, name: str) -> int | None:
        """Tokens of the context with which a model is in memory; None where it isn't, or the server doesn't say."""
        loaded = self._http.json("GET", "/api/ps").get("models") or []
        told = (model.get("context_length") for model in loaded if same_name(model["name"], name))
        return next((int(tokens) for tokens in told if tokens), None)

    def stored_gguf(self, name: str) -> str | None:
        """The sha256 (hex) under which Ollama keeps the model's weights; None where it doesn't say.

        Raises Refused("error.ollama.model_missing").
        """
        source = self._sources(name)[0]
        return source.rpartition("sha256-")[2] if "sha256-" in source else None

    def blob_path(self, name: str) -> Path:
        """The GGUF file of a model on this machine.

        Raises BaseModelError where it can't be read, Refused where there is no such model.
        """
        self._require_local(name)
        source, *others = self._sources(name)
        if any(line.startswith("ADAPTER ") for line in others):
            raise BaseModelError("error.base.ollama_adapter", name=name)
        return _readable_gguf(name, Path(source))

    def stored_file(self, digest: str, name: str) -> Path | None:
        """The GGUF file of this sha256 (hex) in the store, whichever model holds it; None where the store has none.

        The store's folder is known by its models, `name` first: all keep their files in one. Raises BaseModelError
        where it can't be read.
        """
        self._require_local(name)
        if not self.has_blob(digest):
            return None
        file = f"sha256-{digest.removeprefix('sha256:')}"
        for other in (name, *(model["name"] for model in self.tags())):
            try:
                known = Path(self._sources(other)[0])
            except Refused:
                continue
            if known.name.startswith("sha256-"):
                return _readable_gguf(name, known.with_name(file))
        return _readable_gguf(name, Path(file))

    def _require_local(self, name: str) -> None:
        if not self.is_local:
            raise BaseModelError("error.base.ollama_remote", name=name, host=self.host)

    def _sources(self, name: str) -> list[str]:
        """What stands after FROM in the model's own Modelfile, then the lines up to its TEMPLATE.

        Since 0.40 one name may have a model for each runner: that of another than llama.cpp has no path after FROM, and
        llama.cpp's is asked for. Older ones don't hear of runners.
        """
        sources = _read_sources(self.show(name))
        for runner in RUNNERS:
            if Path(sources[0]).is_absolute():
                break
            with suppress(Refused):
                sources = _read_sources(self._http.json("POST", "/api/show", {"model": name, "runner": runner}))
        return sources

    def store(self) -> Path | None:
        """The folder in which Ollama keeps its files, where this machine can see it.

        Its models tell, also that it can't be seen (a container, Windows seen from WSL); of a server without any, it is
        where it usually is: of this user, or of the service's. A folder that may not be looked into isn't seen.
        """
        if not self.is_local:
            return None
        for model in self.tags()[:3]:
            told = self._sources(model["name"])[0]
            if Path(told).is_absolute() and _is_seen(Path(told).parent):
                return Path(told).parent
            if "sha256-" in told:
                return None
        named = os.environ.get("OLLAMA_MODELS")
        usual = [Path(named)] if named else [Path.home() / ".ollama" / "models", SERVICE_STORE]
        return next((place for place in usual if _is_seen(place)), None)

    @property
    def rewrites(self) -> bool:
        """Whether this server passes every upload through llama-quantize, which takes two more copies of it.

        So did all before 0.34.1 (server/create.go); a build that doesn't tell its version is taken for one.
        """
        numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", self.version())
        version = tuple(map(int, numbers.groups())) if numbers else (0, 0, 0)
        return version < (0, 34, 1)

    def has_blob(self, digest: str) -> bool:
        """Does the server hold a file of this sha256 (hex)?"""
        return self._http.call("HEAD", f"/api/blobs/{digest_of(digest)}", missing_ok=True).status_code == 200


def _is_seen(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # a service's home, into which only its group may look
        return False


def _rank(row: Mapping[str, Any]) -> int:
    runner = (row.get("details") or {}).get("runner", RUNNERS[0])
    return RUNNERS.index(runner) if runner in RUNNERS else len(RUNNERS)


def _read_sources(shown: Mapping[str, Any]) -> list[str]:
    lines = str(shown.get("modelfile", "")).partition("\nTEMPLATE ")[0].splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("FROM ")), None)
    return ["", *lines] if first is None else [lines[first].removeprefix("FROM "), *lines[first + 1 :]]


def _readable_gguf(name: str, path: Path) -> Path:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BaseModelError("error.base.ollama_unreadable", name=name, path=str(path), reason=reason) from error
    if magic != b"GGUF":
        raise BaseModelError("error.base.ollama_no_gguf", name=name, path=str(path))
    return path


def digest_of(sha256: str) -> str:
    """As the API writes it, whether or not the caller did."""
    return "sha256:" + sha256.removeprefix("sha256:")

"""Ollama's HTTP API, as far as this project needs it. Every failure is a UserError that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lora_trainer.errors import BaseModelError, OllamaError, ResourceError
from ollama_export.server.answer import Answer, answer_of, broken_off
from ollama_export.server.names import same_name
from ollama_export.server.transport import CONNECT_SECONDS, PATIENT, Refused, Transport, Upload

Messages = Sequence[Mapping[str, str]]


SERVICE_STORE = Path("/usr/share/ollama/.ollama/models")
"""Of the service that Ollama's installer sets up on Linux."""
SECONDS_AFTER_TIMEOUT = 120.0
"""How long a create may go on behind a proxy that has given it up."""


class OllamaClient:
    """One Ollama server: `host` written like OLLAMA_HOST, by default what that variable says."""

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

        Raises OllamaError where the server can't be reached; so do the calls below.
        """
        return list(self._http.json("GET", "/api/tags").get("models") or [])

    def digest(self, name: str) -> str | None:
        """The manifest's digest (hex) of a model; None where there is none of that name."""
        return next((model["digest"] for model in self.tags() if same_name(model["name"], name)), None)

    def exists(self, name: str) -> bool:
        """Is there a model of that name?"""
        return self.digest(name) is not None

    def show(self, name: str) -> dict[str, Any]:
        """What /api/show tells of a model; raises Refused("error.ollama.model_missing")."""
        return self._http.json("POST", "/api/show", {"model": name})

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
        """What stands after FROM in the model's own Modelfile, then the lines up to its TEMPLATE."""
        modelfile = str(self.show(name).get("modelfile", ""))
        lines = modelfile.partition("\nTEMPLATE ")[0].splitlines()
        first = next((number for number, line in enumerate(lines) if line.startswith("FROM ")), None)
        return ["", *lines] if first is None else [lines[first].removeprefix("FROM "), *lines[first + 1 :]]

    def store(self) -> Path | None:
        """The folder in which Ollama keeps its files, where this machine can see it.

        Its models tell; of a server without any, it is where it usually is: of this user, or of the service's.
        """
        if not self.is_local:
            return None
        for model in self.tags()[:3]:
            blob = Path(self._sources(model["name"])[0])
            if blob.is_absolute() and blob.parent.is_dir():
                return blob.parent
        named = os.environ.get("OLLAMA_MODELS")
        usual = [Path(named)] if named else [Path.home() / ".ollama" / "models", SERVICE_STORE]
        return next((place for place in usual if place.is_dir()), None)

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
        return self._http.call("HEAD", f"/api/blobs/{_digest(digest)}", missing_ok=True).status_code == 200

    def upload(self, path: Path, digest: str, progress: Callable[[int, int], None] | None = None) -> bool:
        """Send a file, unless the server holds it already (False); `progress` hears bytes sent and total.

        Raises OllamaError where the connection breaks or `digest` (sha256, hex) is not the file's, ResourceError
        where the server's disk is full.
        """
        if self.has_blob(digest):
            return False
        try:
            # The digest was not there a moment ago, so the server reads the whole body instead of resetting us. What
            # limits the connecting would limit the sending, too, and a server that writes to its disk pauses.
            body = Upload(path, progress or _nothing)
            self._http.call("POST", f"/api/blobs/{_digest(digest)}", data=body, timeout=(None, None))
        except Refused as refused:
            if "digest mismatch" in refused.values["message"]:
                raise Refused("error.ollama.digest_mismatch", refused.status, path=path) from refused
            raise
        except OllamaError as error:
            # Asking again tells a server that is gone (and raises so) from one that broke off, most often for its disk.
            if error.key == "error.ollama.connection_lost" and not self.has_blob(digest):
                raise OllamaError("error.ollama.upload_broken", host=self.host, path=path) from error
            if error.key != "error.ollama.connection_lost":
                raise
        return True

    def create(
        self,
        name: str,
        *,
        files: Mapping[str, str] | None = None,
        from_: str | None = None,
        template: str | None = None,
        system: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        license: Sequence[str] = (),
        messages: Messages = (),
        status: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """Create a model from uploaded `files` (name -> sha256, hex) or from another local model.

        `status` hears each step with bytes done and total (0, 0 where it has none). Raises Refused for an error in
        any shape, ResourceError where the server's disk or memory is full, OllamaError for a stream that ends without
        success.
        """
        if from_ is not None and not self.exists(from_):  # Ollama would pull it from the internet
            raise Refused("error.ollama.model_missing", 404, host=self.host, name=from_)
        blobs = {file: _digest(digest) for file, digest in (files or {}).items()}
        body: dict[str, Any] = {"model": name, "files": blobs, "from": from_, "template": template, "system": system}
        body |= {"parameters": parameters, "license": list(license)}
        body["messages"] = [dict(message) for message in messages]
        last = ""
        for line in self._http.lines("POST", "/api/create", {key: value for key, value in body.items() if value}):
            last = str(line.get("status", ""))
            (status or _nothing)(last, int(line.get("completed") or 0), int(line.get("total") or 0))
        # Only the last line counts: a pull inside a create says success too.
        if last != "success":
            raise OllamaError("error.ollama.unfinished", host=self.host, last=last)

    def create_from_file(
        self,
        name: str,
        path: Path,
        digest: str,
        *,
        progress: Callable[[int, int], None] | None = None,
        **how: Any,
    ) -> None:
        """Upload a GGUF of sha256 `digest` (hex) and create a model of it; arguments and errors are those of both.

        A layer, the file or a text, goes with the last model that has it. Where another process deletes that one in
        between, the create finds nothing to open, or makes a model that isn't there: then again, twice at most.
        """
        for tries_left in (2, 1, 0):
            self.upload(path, digest, progress)
            try:
                self.create(name, files={"model.gguf": digest}, **how)
                self.show(name)
            except Refused as refused:
                if refused.key == "error.ollama.in_between.time" and self._has_made(name, digest):
                    return
                if not tries_left or not _lacks_layer(refused):
                    raise self._for_lack_of_disk(refused, path) or refused from None
            else:
                return

    def _for_lack_of_disk(self, refused: Refused, path: Path) -> ResourceError | None:
        """What a failed create means where its disk has no room for one more copy, which is seldom said."""
        store = self.store() if refused.key == "error.ollama.refused" else None
        if store is None or shutil.disk_usage(store).free > path.stat().st_size:
            return None
        values = {"host": self.host, "call": "POST /api/create", "message": refused.values["message"]}
        return ResourceError("error.ollama.disk_full", **values)

    def _has_made(self, name: str, digest: str) -> bool:
        """Whether the server has finished what a proxy before it didn't wait for; asked for some time."""
        end = time.monotonic() + SECONDS_AFTER_TIMEOUT
        while True:
            found = next((model for model in self.tags() if same_name(model["name"], name)), None)
            if found and self.stored_gguf(name) in (digest.removeprefix("sha256:"), None):
                return True
            if time.monotonic() > end:
                return False
            time.sleep(1.0)

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name; what had that name is overwritten.

        Raises Refused where there is no such model, ResourceError where the server's disk is full.
        """
        self._http.call("POST", "/api/copy", {"source": source, "destination": destination})

    def delete(self, name: str, *, missing_ok: bool = False) -> bool:
        """Remove a name, and the layers that no other name uses.

        Where there is none: False if `missing_ok`, else raises Refused.
        """
        return self._http.call("DELETE", "/api/delete", {"model": name}, missing_ok=missing_ok).status_code == 200

    def chat(self, name: str, messages: Messages, **options: Any) -> Answer:
        """The model's answer; `options` are Ollama's (temperature, seed, num_predict, ...).

        Raises Refused where the model is missing or can't be loaded, ResourceError where it takes more memory than the
        server has; so do `generate` and `rendered`.
        """
        try:
            reply = self._chat(name, messages, options)
        except Refused as refused:
            return broken_off(refused)
        return answer_of(reply, str((reply.get("message") or {}).get("content", "")))

    def generate(self, name: str, prompt: str, *, raw: bool = False, **options: Any) -> Answer:
        """The continuation of a prompt; `raw` takes it as it is, without template and system prompt."""
        body = {"model": name, "prompt": prompt, "raw": raw, "stream": False, "options": options}
        try:
            reply = self._http.json("POST", "/api/generate", body, timeout=PATIENT)
        except Refused as refused:
            return broken_off(refused)
        return answer_of(reply, str(reply.get("response", "")))

    def rendered(self, name: str, messages: Messages) -> str | None:
        """The prompt that the model would get; None from an Ollama too old to tell (it answers instead)."""
        debug = self._chat(name, messages, {"num_predict": 1}, _debug_render_only=True).get("_debug_info")
        return None if debug is None else str(debug.get("rendered_template", ""))

    def _chat(self, name: str, messages: Messages, options: dict[str, Any], **more: Any) -> dict[str, Any]:
        body = {"model": name, "messages": [dict(m) for m in messages], "stream": False, "options": options, **more}
        return self._http.json("POST", "/api/chat", body, timeout=PATIENT)

    def unload(self, name: str, seconds: float = 10.0) -> None:
        """Take a model out of memory and wait for it: models of equal weights share a runner and its template mode.

        Raises Refused where there is no such model; one that is still there after `seconds` is left.
        """
        self._http.json("POST", "/api/generate", {"model": name, "keep_alive": 0})
        end = time.monotonic() + seconds
        while any(same_name(model["name"], name) for model in self._http.json("GET", "/api/ps").get("models") or []):
            if time.monotonic() > end:
                return
            time.sleep(0.1)


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


def _digest(sha256: str) -> str:
    """As the API writes it, whether or not the caller did."""
    return "sha256:" + sha256.removeprefix("sha256:")


def _lacks_layer(refused: Refused) -> bool:
    """Whether a layer's file was gone."""
    opened = re.search(r"open .*sha256-[0-9a-f]{64}", refused.values["message"])
    return opened is not None or refused.key == "error.ollama.model_missing"


def _nothing(*_: Any) -> None:
    return None

"""Ollama's HTTP API, as far as this project needs it. Every failure is a UserError that says what to do."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_trainer.errors import OllamaError, ResourceError
from ollama_export.greedy import TOKENS, Greedy
from ollama_export.server.answer import GREEDILY, Answer, answer_of, broken_off, said_greedily
from ollama_export.server.models import StoredModels, digest_of
from ollama_export.server.names import same_name
from ollama_export.server.transport import PATIENT, Refused, Upload

Messages = Sequence[Mapping[str, str]]


SECONDS_AFTER_TIMEOUT = 120.0
"""How long a create may go on behind a proxy that has given it up."""
_QUANTIZE_FAILED = "llama-quantize failed"
"""An Ollama before 0.34.1 whose copy of the file wasn't written to its end; a full disk is not said."""


class OllamaClient(StoredModels):
    """One Ollama server: `host` written like OLLAMA_HOST, by default what that variable says."""

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
            self._http.call("POST", f"/api/blobs/{digest_of(digest)}", data=body, timeout=(None, None))
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
        blobs = {file: digest_of(digest) for file, digest in (files or {}).items()}
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

    def _for_lack_of_disk(self, refused: Refused, path: Path) -> OllamaError | ResourceError | None:
        """What a failed create means where its disk has no room for one more copy, which is seldom said."""
        if refused.key != "error.ollama.refused":
            return None
        store, message = self.store(), refused.values["message"]
        values = {"host": self.host, "call": "POST /api/create", "message": message}
        if store is None:
            perhaps = _QUANTIZE_FAILED in message
            return Refused("error.ollama.disk_full.perhaps", refused.status, **values) if perhaps else None
        if shutil.disk_usage(store).free > path.stat().st_size:
            return None
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

        Where there is none, or another delete of it is quicker: False if `missing_ok`, else raises Refused.
        """
        try:
            return self._http.call("DELETE", "/api/delete", {"model": name}, missing_ok=missing_ok).status_code == 200
        except Refused as refused:
            if missing_ok and _was_quicker(refused):
                return False
            raise

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

    def stream(
        self, name: str, messages: Messages, heard: Callable[[str], None], *, think: bool | None = None, **options: Any
    ) -> Answer:
        """As `chat`, with each piece of the answer told to `heard` as it comes; "" is a piece of a thought.

        `think` asks for a thought, or for none, where the model can do either; None leaves it to the model. Whatever
        `heard` raises ends the answer. Raises OllamaError("error.ollama.connection_lost") where the server goes in the
        middle of it.
        """
        body = {"model": name, "messages": [dict(m) for m in messages], "stream": True, "options": options}
        body |= {} if think is None else {"think": think}
        text, line = "", dict[str, Any]()
        try:
            with closing(self._http.lines("POST", "/api/chat", body)) as lines:
                for line in lines:
                    said = line.get("message") or {}
                    piece = str(said.get("content", ""))
                    text += piece
                    if piece or said.get("thinking"):
                        heard(piece)
        except Refused as refused:
            return replace(broken_off(refused), text=text)
        return answer_of(line, text)

    def generate(self, name: str, prompt: str, *, raw: bool = False, **options: Any) -> Answer:
        """The continuation of a prompt; `raw` takes it as it is, without template and system prompt."""
        body = {"model": name, "prompt": prompt, "raw": raw, "stream": False, "options": options}
        try:
            reply = self._generate(body)
        except Refused as refused:
            return broken_off(refused)
        return answer_of(reply, str(reply.get("response", "")))

    def greedy(self, name: str, known: Greedy) -> Greedy:
        """How the model goes on with the prompt of `known`, taken as it is, by the likeliest tokens alone.

        Without log-probabilities where the server tells none, and without a token where it broke off.
        """
        body = {"model": name, "prompt": known.prompt, "raw": True, "stream": False, "logprobs": True}
        # a thought would be told apart, and not with the answer
        body |= {"top_logprobs": 2, "think": False, "options": {**GREEDILY, "num_predict": TOKENS}}
        try:
            reply = self._generate(body)
        except Refused as refused:
            broken_off(refused)
            return Greedy(known.prompt, ())
        return said_greedily(reply, known)

    def rendered(self, name: str, messages: Messages) -> str | None:
        """The prompt that the model would get; None from an Ollama too old to tell (it answers instead)."""
        debug = self._chat(name, messages, {"num_predict": 1}, _debug_render_only=True).get("_debug_info")
        return None if debug is None else str(debug.get("rendered_template", ""))

    def _generate(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._http.json("POST", "/api/generate", body, timeout=PATIENT)

    def _chat(self, name: str, messages: Messages, options: dict[str, Any], **more: Any) -> dict[str, Any]:
        body = {"model": name, "messages": [dict(m) for m in messages], "stream": False, "options": options, **more}
        return self._http.json("POST", "/api/chat", body, timeout=PATIENT)

    def is_loaded(self, name: str) -> bool:
        """Whether the server has a model in memory."""
        return any(same_name(loaded, name) for loaded in self.loaded())

    def loaded(self) -> list[str]:
        """The models that the server has in memory."""
        return [model["name"] for model in self._http.json("GET", "/api/ps").get("models") or []]

    def unload(self, name: str, seconds: float = 10.0) -> None:
        """Take a model out of memory and wait for it: models of equal weights share a runner and its template mode.

        Raises Refused where there is no such model; one that is still there after `seconds` is left.
        """
        self._http.json("POST", "/api/generate", {"model": name, "keep_alive": 0})
        end = time.monotonic() + seconds
        while self.is_loaded(name):
            if time.monotonic() > end:
                return
            time.sleep(0.1)


def _was_quicker(refused: Refused) -> bool:
    """Whether a delete found the name, and then its file gone."""
    return re.search(r"remove .*(no such file|cannot find)", refused.values["message"]) is not None


def _lacks_layer(refused: Refused) -> bool:
    """Whether a layer's file was gone."""
    opened = re.search(r"open .*sha256-[0-9a-f]{64}", refused.values["message"])
    return opened is not None or refused.key == "error.ollama.model_missing"


def _nothing(*_: Any) -> None:
    return None

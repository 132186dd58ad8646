"""POST /api/create: from files or from a model to a manifest, status by status."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from gguf import MODEL_ARCH_NAMES, LlamaFileType

from .errors import ApiError
from .gguf_file import Gguf, GgufError, read_gguf, write_like_quantize
from .go_template import GoRenderer, GoTemplateError
from .names import BadReference, Name, parse_name, parse_reference
from .quantize import FILE_TYPES, file_type_name, quantized_tensors
from .releases import NO_ADAPTERS, NO_QUANTIZATION, OLDEST, Release
from .store import CONFIG_MEDIA, MEDIA, Layer, Store

CHATML = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
CHATML_STOP = ["<|im_start|>", "<|im_end|>"]
DIGEST = re.compile("sha256:[0-9a-f]{64}")
MOST_FILES = 1024
LIMIT = 100
"""Edits; a chat template nearer than this to a known one is taken for it."""

Status = dict[str, str]


@dataclass
class Part:
    """A layer on its way into the manifest."""

    layer: Layer
    gguf: Gguf | None = None
    rewrite: bool = False
    """User-supplied files are written anew by llama-quantize; layers of an existing model are not."""


@dataclass
class Creation:
    store: Store
    go: GoRenderer
    request: dict[str, Any]
    release: Release = OLDEST
    config: dict[str, Any] = field(default_factory=lambda: {"architecture": "amd64", "os": "linux"})

    def checked_name(self) -> Name:
        """What is refused before the first status. Raises ApiError."""
        for group in ("files", "draft_files"):
            for path, digest in (self.request.get(group) or {}).items():
                if not _is_valid_path(path):
                    which = "" if self.release.rewrites else f": {path}"
                    raise ApiError(f"file path must be relative{which}", 400)
                if not digest:
                    raise ApiError("invalid digest format", 400)
                if not self.release.rewrites and not DIGEST.fullmatch(digest):
                    raise ApiError(f"invalid digest for {path}: invalid digest format", 400)
        if not all((self.request.get("adapters") or {}).values()):
            raise ApiError("invalid digest format", 400)
        name = parse_name(self.request.get("model") or self.request.get("name") or "")
        if not name.is_valid:
            raise ApiError("invalid model name", 400)
        if not self.release.rewrites:
            self._refuse_what_is_gone()
        return self.store.existing_name(name)

    def _refuse_what_is_gone(self) -> None:
        if self.request.get("adapters"):
            raise ApiError(NO_ADAPTERS, 400)
        if self.request.get("quantize") or self.request.get("quantization"):
            raise ApiError(NO_QUANTIZATION, 400)
        if "typical_p" in (self.request.get("parameters") or {}):
            told = "typical_p is deprecated and cannot be set as a model parameter; pass it as a request option instead"
            raise ApiError(told, 400)
        if len(self.request.get("files") or {}) > MOST_FILES:
            raise ApiError(f"too many files: {len(self.request['files'])} exceeds maximum {MOST_FILES}", 400)

    def run(self, name: Name) -> Iterator[Status]:
        """Yields the statuses up to `success`. Raises ApiError."""
        try:
            old = self.store.manifest(name).digests
        except (FileNotFoundError, ValueError):
            old = set()
        for key in ("renderer", "parser", "requires"):
            if self.request.get(key):
                self.config[key] = self.request[key]
        if self.request.get("from"):
            parts = yield from self._from_model()
        elif self.request.get("files") is not None:
            parts = yield from self._from_files(self.request["files"], adapter=False)
        else:
            raise ApiError("neither 'from' or 'files' was specified", 400)
        if self.request.get("adapters") is not None:
            parts += yield from self._from_files(self.request["adapters"], adapter=True)
        yield from self._write(name, parts)
        self.store.remove_unused(old)
        yield {"status": "success"}

    def _from_model(self) -> Generator[Status, None, list[Part]]:
        try:
            name, _, source = parse_reference(self.request["from"])
        except BadReference:
            raise ApiError("invalid model name", 400) from None
        if source == "cloud":
            raise ApiError("remote models are no part of this stand-in", 500)
        try:
            manifest = self.store.manifest(name)
        except FileNotFoundError:
            yield {"status": "pulling manifest"}
            raise ApiError(pull_failure(name), 500) from None
        base = json.loads(self.store.text(manifest.config))
        for key in ("renderer", "parser", "requires", "model_format", "capabilities"):
            if base.get(key):
                self.config.setdefault(key, base[key])
        parts = []
        for layer in manifest.layers:
            copied = self.store.existing_layer(layer.digest, layer.media_type, name.shortest)
            binary = layer.media_type in (MEDIA + "model", MEDIA + "adapter")
            parts.append(Part(copied, _decode(self.store.opened_blob(layer.digest)) if binary else None))
        return parts

    def _from_files(self, files: dict[str, str], *, adapter: bool) -> Generator[Status, None, list[Part]]:
        if not self._are_gguf(files):
            raise ApiError("unknown type", 400)
        if adapter and len(files) > 1:
            raise ApiError("only one adapter is currently supported", 400)
        parts = []
        for path in sorted(files):
            yield {"status": "parsing GGUF"}
            blob = self.store.opened_blob(files[path])
            with blob.open("rb") as stream:
                if stream.read(4) not in (b"GGUF", b"FUGG"):
                    raise ApiError("supplied file was not in GGUF format", 400)
            found = _decode(blob)
            if not self.release.rewrites and found.values.get("general.type") == "adapter":
                raise ApiError(f"{NO_ADAPTERS}: {path} is a LoRA adapter", 400)
            kind = "adapter" if found.values.get("general.type") == "adapter" else "model"
            parts.append(Part(self.store.existing_layer(files[path], MEDIA + kind, path), found, rewrite=True))
        return parts + self._detected(parts)

    def _are_gguf(self, files: dict[str, str]) -> bool:
        for path, digest in files.items():
            if path.endswith(".safetensors"):
                raise ApiError("safetensors conversion is no part of this stand-in", 500)
            if path.endswith(".gguf"):
                return True
            try:
                with self.store.opened_blob(digest).open("rb") as stream:
                    if stream.read(4) == b"GGUF":
                        return True
            except ApiError:
                return False
        return False

    def _detected(self, parts: list[Part]) -> list[Part]:
        """Only the chatml entries of Ollama's list are known here."""
        found = []
        for part in parts:
            if part.gguf and part.gguf.chat_template and is_chatml(part.gguf.chat_template):
                template = self.store.add_text(CHATML, MEDIA + "template")
                template.status = "using autodetected template chatml"
                stop = json.dumps({"stop": CHATML_STOP}, separators=(",", ":")) + "\n"
                found += [Part(template), Part(self.store.add_text(stop, MEDIA + "params"))]
        return found

    def _write(self, name: Name, parts: list[Part]) -> Iterator[Status]:
        layers = []
        for part in parts:
            if part.gguf is not None and part.layer.media_type == MEDIA + "model":
                part = yield from self._rewritten(part)
                assert part.gguf is not None
                self.config.setdefault("model_format", "gguf")
                self.config.setdefault("model_family", part.gguf.architecture)
                self.config.setdefault("model_type", human_number(part.gguf.parameters))
                self.config.setdefault("file_type", file_type_name(part.gguf.file_type))
                self.config.setdefault("model_families", []).append(part.gguf.architecture)
            layers.append(part.layer)
        layers = self._with_texts(layers)
        config = self.store.add_text(json.dumps(self.config, separators=(",", ":")) + "\n", CONFIG_MEDIA)
        for layer in layers:
            yield {"status": layer.status}
        yield {"status": "writing manifest"}
        with self.store.lock:
            self.store.write_manifest(name, config, layers)

    def _rewritten(self, part: Part) -> Generator[Status, None, Part]:
        source = part.gguf
        assert source is not None
        if not self.release.rewrites:
            return part
        wanted = str(self.request.get("quantize") or self.request.get("quantization") or "").upper()
        tensors = source.tensors
        file_type = LlamaFileType(int(source.values.get("general.file_type", LlamaFileType.GUESSED)))
        quantizes = False
        if wanted:
            if wanted not in FILE_TYPES:
                supported = "F32, F16, Q4_K_S, Q4_K_M, Q8_0"
                raise ApiError(f"unsupported quantization type {wanted} - supported types are {supported}", 500)
            if file_type_name(source.file_type) not in ("F16", "BF16", "F32"):
                raise ApiError("quantization is only supported for F16, BF16 and F32 models", 500)
            if FILE_TYPES[wanted] != file_type:
                quantizes, file_type = True, FILE_TYPES[wanted]
        if not quantizes and not part.rewrite:
            return part
        before = "" if quantizes else "failed to validate GGUF with llama-quantize without compatibility patches: "
        if source.architecture not in MODEL_ARCH_NAMES.values():
            raise ApiError(f"{before}llama-quantize failed: exit status 1", 500)
        if quantizes:
            tensors = quantized_tensors(source, file_type)
        yield {"status": "verifying conversion"}

        def fill(out: BinaryIO) -> None:
            try:
                write_like_quantize(source, tensors, int(file_type), out)
                out.flush()
            except OSError as error:
                # of the tool nothing is heard but its exit status, here of a disk that is full
                raise ApiError(f"{before}llama-quantize failed: exit status 1", 500) from error

        layer = self.store.add_layer(fill, part.layer.media_type)
        return Part(layer, _decode(self.store.opened_blob(layer.digest)))

    def _with_texts(self, layers: list[Layer]) -> list[Layer]:
        request = self.request
        if request.get("template"):
            layers = self._without(layers, "template")
            try:
                self.go.variables(request["template"])
            except GoTemplateError as error:
                raise ApiError(f"template error: {error}", 400) from None
            layers.append(self.store.add_text(request["template"], MEDIA + "template"))
        if request.get("system"):
            layers = [*self._without(layers, "system"), self.store.add_text(request["system"], MEDIA + "system")]
        licenses = request.get("license") or []
        for text in [licenses] if isinstance(licenses, str) else licenses:
            layers.append(self.store.add_text(text, MEDIA + "license"))
        parameters = dict(request.get("parameters") or {})
        for layer in layers:
            if layer.media_type == MEDIA + "params":
                parameters = {**json.loads(self.store.text(layer)), **parameters}
        if parameters:
            # Go writes the keys of a map sorted.
            text = json.dumps(parameters, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
            layers = [*self._without(layers, "params"), self.store.add_text(text, MEDIA + "params")]
        if request.get("messages"):
            text = json.dumps(request["messages"], separators=(",", ":"), ensure_ascii=False) + "\n"
            layers = [*self._without(layers, "messages"), self.store.add_text(text, MEDIA + "messages")]
        return layers

    def _without(self, layers: list[Layer], kind: str) -> list[Layer]:
        """The layers but those of a kind, which are deleted at once where no manifest uses them."""
        dropped = {layer.digest for layer in layers if layer.media_type == MEDIA + kind}
        self.store.remove_unused(dropped)
        return [layer for layer in layers if layer.media_type != MEDIA + kind]


def _decode(path: Path) -> Gguf:
    try:
        return read_gguf(path)
    except GgufError as error:
        raise ApiError(str(error), 500) from None


def _is_valid_path(path: str) -> bool:
    """Go's fs.ValidPath."""
    return path == "." or all(part not in ("", ".", "..") for part in path.split("/"))


def pull_failure(name: Name) -> str:
    """There is no network here."""
    url = f"https://{name.host}/v2/{name.namespace}/{name.model}/manifests/{name.tag}"
    return f'pull model manifest: Get "{url}": dial tcp: lookup {name.host}: no such host'


def human_number(count: int) -> str:
    for size, letter, digits in ((10**9, "B", 1), (10**6, "M", 2)):
        if count >= size:
            return f"{count // size}{letter}" if count % size == 0 else f"{count / size:.{digits}f}{letter}"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)


@lru_cache(maxsize=256)
def is_chatml(jinja: str) -> bool:
    known = json.loads(Path(__file__).with_name("chatml_templates.json").read_text(encoding="utf-8"))
    return any(_edits(jinja, template) < LIMIT for template in known)


def _edits(left: str, right: str) -> int:
    """Levenshtein distance, given up at LIMIT."""
    if left == right:
        return 0
    if abs(len(left) - len(right)) >= LIMIT:
        return LIMIT
    row = {column: column for column in range(min(len(right), LIMIT) + 1)}
    for at, letter in enumerate(left, 1):
        new: dict[int, int] = {}
        for column in range(max(0, at - LIMIT), min(len(right), at + LIMIT) + 1):
            best = min(row.get(column, LIMIT), new.get(column - 1, LIMIT)) + 1
            if column:
                best = min(best, row.get(column - 1, LIMIT) + (right[column - 1] != letter))
            new[column] = best
        if min(new.values()) >= LIMIT:
            return LIMIT
        row = new
    return row.get(len(right), LIMIT)

"""Blobs by digest and manifests by name, laid out on disk as Ollama does: layers are shared, orphans are deleted."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ApiError
from .faults import disk_full
from .names import Name, existing_spelling

MEDIA = "application/vnd.ollama.image."
CONFIG_MEDIA = "application/vnd.docker.container.image.v1+json"
DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


@dataclass
class Layer:
    media_type: str
    digest: str
    size: int
    source: str = ""
    """The model or file that the layer came from."""
    status: str = ""

    def to_json(self) -> dict[str, Any]:
        found = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**found, "from": self.source} if self.source else found


@dataclass
class Manifest:
    name: Name
    config: Layer
    layers: list[Layer]
    digest: str
    modified: datetime

    @property
    def size(self) -> int:
        return self.config.size + sum(layer.size for layer in self.layers)

    @property
    def digests(self) -> set[str]:
        return {self.config.digest, *(layer.digest for layer in self.layers)}


@contextmanager
def telling_full_disk(path: Path) -> Iterator[None]:
    """A disk without room for `path` is an error of the request."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise disk_full(path) from error


class Store:
    def __init__(self, folder: Path, *, prune_after_seconds: float = 3600) -> None:
        self.folder = folder
        self.blobs, self.manifests = folder / "blobs", folder / "manifests"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.manifests.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self._prune(prune_after_seconds)

    def _prune(self, older_than: float) -> None:
        used = {digest.replace(":", "-") for manifest in self.all() for digest in manifest.digests}
        for blob in self.blobs.iterdir():
            if blob.name not in used and time.time() - blob.stat().st_mtime > older_than:
                blob.unlink()

    def blob_path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise ApiError("invalid digest format", 400)
        return self.blobs / digest.replace(":", "-")

    def opened_blob(self, digest: str) -> Path:
        """As `blob_path`, for a blob that must be there; the error is that of Go's os.Open."""
        path = self.blob_path(digest)
        if not path.exists():
            raise ApiError(f"open {path}: no such file or directory", 500)
        return path

    @contextmanager
    def temporary(self) -> Iterator[BinaryIO]:
        """A file beside the blobs that is gone afterwards unless it was renamed to its digest."""
        file = tempfile.NamedTemporaryFile(dir=self.blobs, prefix="sha256-", delete=False)  # noqa: SIM115
        try:
            yield file  # type: ignore[misc]
        finally:
            file.close()
            with suppress(FileNotFoundError):
                Path(file.name).unlink()

    def add_layer(self, fill: Callable[[BinaryIO], object], media_type: str) -> Layer:
        """A layer of the bytes that `fill` writes. Existing content isn't written again."""
        with self.temporary() as file:
            path = Path(file.name)
            with telling_full_disk(path):
                fill(file)
                file.flush()
            file.close()
            with path.open("rb") as stream:
                digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
            size, target = path.stat().st_size, self.blob_path(digest)
            with self.lock:
                status = "using existing layer" if target.exists() else "creating new layer"
                if not target.exists():
                    path.replace(target)
                target.touch()
        return Layer(media_type, digest, size, status=f"{status} {digest}")

    def add_text(self, text: str, media_type: str) -> Layer:
        return self.add_layer(lambda out: out.write(text.encode()), media_type)

    def existing_layer(self, digest: str, media_type: str, source: str) -> Layer:
        path = self.opened_blob(digest)
        path.touch()
        return Layer(media_type, digest, path.stat().st_size, source, f"using existing layer {digest}")

    def text(self, layer: Layer) -> str:
        return self.opened_blob(layer.digest).read_text(encoding="utf-8")

    def all(self) -> list[Manifest]:
        """Every readable manifest; broken ones are left out silently."""
        found = []
        for path in self.manifests.glob("*/*/*/*"):
            name = Name(*path.relative_to(self.manifests).parts)
            if path.is_file() and name.is_valid:
                with suppress(ValueError, KeyError, FileNotFoundError):
                    found.append(self.manifest(name))
        return found

    def existing_name(self, name: Name) -> Name:
        return existing_spelling(name, [manifest.name for manifest in self.all()])

    def manifest(self, name: Name) -> Manifest:
        """Raises FileNotFoundError."""
        path = self.manifests / name.path
        content = path.read_bytes()
        parsed = json.loads(content)
        config, *layers = (
            Layer(entry["mediaType"], entry["digest"], entry["size"], entry.get("from", ""))
            for entry in (parsed["config"], *parsed["layers"])
        )
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return Manifest(name, config, layers, hashlib.sha256(content).hexdigest(), modified)

    def write_manifest(self, name: Name, config: Layer, layers: list[Layer]) -> None:
        """Written in place, as Ollama does: a crash in between leaves a broken one."""
        path = self.manifests / name.path
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        with telling_full_disk(path):
            path.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")

    def copy(self, source: Name, destination: Name) -> None:
        """Raises FileNotFoundError. The layers that only the old destination used stay as orphans."""
        if source == destination:
            return
        target = self.manifests / destination.path
        content = (self.manifests / source.path).read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def delete(self, name: Name) -> None:
        """Raises FileNotFoundError."""
        with self.lock:
            manifest = self.manifest(name)
            path = self.manifests / name.path
            path.unlink()
            for folder in list(path.parents)[:3]:
                with suppress(OSError):
                    folder.rmdir()
            self.remove_unused(manifest.digests)

    def remove_unused(self, digests: set[str]) -> None:
        with self.lock:
            used = {digest for manifest in self.all() for digest in manifest.digests}
            for digest in digests - used:
                self.blob_path(digest).unlink(missing_ok=True)

"""Write a GGUF front to back: each byte is hashed as it goes out, and a file that isn't whole never has the name."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from file_formats.durable import sync_folder
from file_formats.gguf import TensorInfo, alignment_of, padded, write_head
from lora_trainer.errors import ConversionError, ResourceError

Progress = Callable[[int, int], None]
"""Hears bytes written and their total."""


def unheard(done: int, total: int) -> None:
    """Hear no progress."""


SECONDS_BETWEEN_FLUSHES = 0.1


@dataclass(frozen=True)
class GgufFile:
    """A finished GGUF: `sha256` is bare hex, `size` in bytes, `tensors` their number."""

    path: Path
    sha256: str
    size: int
    file_type: str
    tensors: int
    fingerprints: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Of each weight that was written from floats (see fingerprint.py)."""


class GgufStream:
    """The writer: a context manager; `finish` gives the file its name, leaving without it removes what was written.

    Writing and hashing run in a thread of their own, beside the caller's reading and converting. Raises ResourceError
    when the disk is full, ConversionError when the file can't be written otherwise.
    """

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, bytes],
        tensors: Sequence[TensorInfo],
        progress: Progress,
    ) -> None:
        self._path = path
        self._part = partial(path)
        self._tensors = list(tensors)
        self._head = write_head(metadata, tensors)
        self._alignment = alignment_of(metadata)
        self._progress = progress
        self.size = len(self._head) + sum(padded(t.size, self._alignment) for t in tensors)
        self._sha256 = hashlib.sha256()
        self._written = 0
        self._open_tensor = 0
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=8)
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._drain, self._flush)]

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._part.unlink(missing_ok=True)
            if shutil.disk_usage(self._path.parent).free < self.size:
                raise self._disk_full()
            self._file = self._part.open("wb", buffering=0)
        except OSError as error:
            raise self._explained(error) from error
        for thread in self._threads:
            thread.start()
        self._queue.put(self._head)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            self._failure = self._failure or value or RuntimeError("the GGUF was not finished")
            self._stop()
            self._file.close()
            self._part.unlink(missing_ok=True)

    def write(self, tensor: TensorInfo, pieces: Any) -> None:
        """The data of the next tensor of the list, as buffers that nobody changes any more.

        Raises ValueError for another tensor, or data of another size.
        """
        if self._tensors[self._open_tensor] is not tensor:
            raise ValueError(f"{tensor.name} is not the next tensor")
        self._open_tensor += 1
        size = 0
        for piece in pieces:
            view = memoryview(piece).cast("B")
            size += len(view)
            self._put(view)
        if size != tensor.size:
            raise ValueError(f"{tensor.name}: {size} bytes in place of {tensor.size}")
        self._put(bytes(padded(size, self._alignment) - size))

    def finish(self, file_type: str) -> GgufFile:
        """Wait for the disk and give the file its name; raises ValueError where a tensor is missing."""
        if self._open_tensor != len(self._tensors):
            raise ValueError(f"{self._open_tensor} of {len(self._tensors)} tensors written")
        self._stop()
        self._raise_failure()
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            self._file.close()
            self._part.unlink(missing_ok=True)
            raise self._explained(error) from error
        return GgufFile(self._path, self._sha256.hexdigest(), self._written, file_type, len(self._tensors))

    def _put(self, piece: Any) -> None:
        self._raise_failure()
        self._queue.put(piece)
        self._progress(self._written, self.size)

    def _raise_failure(self) -> None:
        if isinstance(self._failure, OSError):
            raise self._explained(self._failure) from self._failure
        if self._failure is not None:
            raise self._failure

    def _stop(self) -> None:
        self._queue.put(None)
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _drain(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._failure is not None:
                continue
            try:
                view = memoryview(piece)
                self._sha256.update(view)
                while view:
                    view = view[self._file.write(view) :]
                self._written += len(piece)
            except BaseException as error:  # handed to the writing thread, which raises it
                self._failure = error

    def _flush(self) -> None:
        # the disk works meanwhile, so that little is left to wait for at the end
        while not self._over.wait(SECONDS_BETWEEN_FLUSHES) and self._failure is None:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                self._failure = error

    def _explained(self, error: OSError) -> ConversionError | ResourceError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._disk_full()
        if error.errno == errno.EFBIG:
            return ResourceError("error.disk.file_too_large", path=str(self._path), size=_megabytes(self.size))
        return ConversionError("error.export.write", path=str(self._path), reason=str(error))

    def _disk_full(self) -> ResourceError:
        needed, free = map(_megabytes, (self.size, shutil.disk_usage(self._path.parent).free))
        return ResourceError("error.disk.full", path=str(self._path), needed=needed, free=free)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def partial(path: Path) -> Path:
    """The name that `path` has while it is being written."""
    return path.with_name(path.name + ".part")

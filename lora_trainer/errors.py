"""The errors that a user can mend, each with its exit code.

An error carries a text key and values, not words: the wizard says it in the user's language. Everything
that is not a UserError is a bug of ours and exits with 1.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar


class UserError(Exception):
    """What happened, why and what to do next stand under `key` in wizard/texts, filled with `values`."""

    exit_code: ClassVar[int] = 2

    def __init__(self, key: str, /, **values: Any) -> None:
        self.key = key
        self.values = values
        super().__init__(key, values)

    def __str__(self) -> str:
        return f"{self.key} {self.values}" if self.values else self.key


class UsageError(UserError):
    """A flag is wrong, or flags contradict each other."""


class DecisionNeeded(UsageError):
    """A decision that nobody made: it needs a terminal or the flag `values['flag']`."""


class Cancelled(UserError):
    """The user chose to cancel."""

    exit_code = 3


class DataError(UserError):
    """The training data can't be used as they are."""

    exit_code = 4


class OllamaError(UserError):
    """Ollama can't be reached, or refuses."""

    exit_code = 5


class BaseModelError(UserError):
    """The base model is not available or not supported."""

    exit_code = 6


class ResourceError(UserError):
    """Not enough disk, memory or device memory."""

    exit_code = 7


class ConversionError(UserError):
    """The GGUF could not be written, or does not prove right."""

    exit_code = 8


class Interrupted(UserError):
    """Ctrl-C or SIGTERM; the message says how to go on."""

    exit_code = 130


_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("os error 28", "No space left on device", "PytorchStreamWriter failed writing file")
_BARRED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO, errno.ENAMETOOLONG)
_BARRED_WORDS = ("os error 13", "os error 30", "Read-only file system", "No usable temporary directory")

MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "Invalid buffer size", "ALLOC_FAILED")
"""What a RuntimeError says that is one of memory; MPS refuses buffers of more than half the memory as invalid, cuBLAS
and bitsandbytes allocate for themselves."""


def as_memory_error(error: BaseException) -> ResourceError | None:
    """The ResourceError that an error means if memory ran out, the machine's or the device's."""
    worded = isinstance(error, RuntimeError) and any(word in str(error) for word in MEMORY_WORDS)
    if not worded and not isinstance(error, MemoryError):
        return None
    return ResourceError("error.memory.ran_out", reason=str(error).partition("\n")[0] or type(error).__name__)


def as_disk_error(error: BaseException, path: str = "?") -> ResourceError | None:
    """The ResourceError that an error means if the disk was full when it was raised, or the system barred us from a
    path, whichever library read or wrote; `path` is where, if the error doesn't say.

    Python says it by errno; safetensors and torch's file writer only in words.
    """
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) in _FULL or any(word in str(cause) for word in _FULL_WORDS):
            return ResourceError("error.disk.full_somewhere", path=getattr(cause, "filename", None) or path)
        cause = cause.__cause__ or cause.__context__
    cause = error
    while cause is not None:
        # what the network bars has no file name
        named = getattr(cause, "errno", None) in _BARRED and getattr(cause, "filename", None)
        if named or any(word in str(cause) for word in _BARRED_WORDS):
            reason = getattr(cause, "strerror", None) or str(cause)
            return ResourceError("error.disk.barred", path=named or path, reason=reason)
        cause = cause.__cause__
    return None

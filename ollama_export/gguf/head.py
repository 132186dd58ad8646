"""The head of a GGUF file, with an error that a user can act on where it is broken."""

from __future__ import annotations

from pathlib import Path

from file_formats.errors import BrokenFile
from file_formats.gguf import GgufHead, read_head
from lora_trainer.errors import ConversionError


def gguf_head(path: Path) -> GgufHead:
    """Metadata and tensors of the GGUF at `path`; raises ConversionError when it isn't a whole GGUF."""
    try:
        return read_head(path)
    except (BrokenFile, OSError) as error:
        raise ConversionError(
            "error.gguf.broken", path=str(path), reason=getattr(error, "reason", str(error))
        ) from error

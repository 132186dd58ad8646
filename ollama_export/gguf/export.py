"""Base model + LoRA adapter -> GGUF, in one streaming pass: no merged copy on disk or in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

from lora_trainer import errors
from lora_trainer.errors import ConversionError, UserError
from ollama_export.ended import how_ended, was_killed
from ollama_export.gguf import from_gguf as gguf_from_gguf
from ollama_export.gguf.converter import architecture_of, converter_folder, convertible_architectures
from ollama_export.gguf.head import gguf_head
from ollama_export.gguf.stream import GgufFile, Progress, partial, unheard

__all__ = ["GgufFile", "export_gguf", "supported_architecture"]


def export_gguf(
    base_path: Path,
    kind: Literal["folder", "gguf"],
    adapter: Path | None,
    out: Path,
    *,
    file_type: str,
    chat_template: str | None,
    add_bos: bool,
    eos_token: str,
    other_ends: Sequence[str] = (),
    llama_cpp: Path | None = None,
    foretaste: Path | None = None,
    mark: str | None = None,
    progress: Progress = unheard,
) -> GgufFile:
    """Write the merged model to `out`; `progress` hears bytes written and their total.

    Each delta is added to its weight in float32, then rounded once to `file_type` (a name of FILE_TYPES; K-quants are
    mixed as llama.cpp mixes them). With a base that is a GGUF, tensors without a delta keep their type, but that
    K-quants are made of those in floats, too. `chat_template` None keeps the base's own; `eos_token` is the text of
    the token that ends a turn, `other_ends` of those that end an answer as well. `foretaste` is a larger base model of
    the same kind, whose export is planned first: what it would fail of is raised. `mark`: what the GGUF is known by
    (see serving_metadata.py). `out` appears when it is whole and on disk, and not before.

    Raises ConversionError (with the converter's own reason), ResourceError when disk or memory is not enough.
    """
    arguments = {
        "base": str(base_path.absolute()),
        "kind": kind,
        "adapter": str(adapter.absolute()) if adapter else None,
        "out": str(out.absolute()),
        "file_type": file_type,
        "chat_template": chat_template,
        "add_bos": add_bos,
        "eos_token": eos_token,
        "other_ends": list(other_ends),
        "llama_cpp": str(llama_cpp.absolute()) if llama_cpp else None,
        "mark": mark,
        "foretaste": str(foretaste.absolute()) if foretaste else None,
    }
    try:
        result = _run_worker(arguments, progress)
    except BaseException:
        partial(out).unlink(missing_ok=True)
        raise
    return GgufFile(out, result["sha256"], result["size"], file_type, result["tensors"], result["fingerprints"])


def supported_architecture(base_path: Path, kind: Literal["folder", "gguf"], llama_cpp: Path | None = None) -> bool:
    """Whether `export_gguf` knows the base model's architecture; reads a few KB and imports nothing heavy.

    Raises ConversionError for a broken GGUF or config.json, and where there is no converter.
    """
    if kind == "gguf":
        return gguf_head(base_path).get("general.architecture") in gguf_from_gguf.ARCHITECTURES
    return architecture_of(base_path) in convertible_architectures(converter_folder(llama_cpp))


def _run_worker(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    environment["PYTHONUTF8"] = "1"
    # rounding a piece takes a millisecond: threads that wait for each other (and for the hashing) cost three times that
    environment["OMP_NUM_THREADS"] = "1"
    # nothing is fetched: the model folder is all there is
    environment["HF_HUB_OFFLINE"] = environment["TRANSFORMERS_OFFLINE"] = "1"
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "ollama_export.gguf.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
        )
        with worker:
            try:
                line = _listen(worker, json.dumps(arguments).encode(), progress)
            except BaseException:
                worker.kill()
                raise
        if "result" in line:
            return dict(line["result"])
        tail = _tail(said)
        raise _error_of(line, worker.returncode, tail) from RuntimeError(tail)


def _listen(worker: subprocess.Popen[bytes], arguments: bytes, progress: Progress) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(arguments)
        worker.stdin.close()
    except OSError:
        return {}  # it died at once; its exit code says more
    last: dict[str, Any] = {}
    for text in worker.stdout:
        line = json.loads(text)
        if "progress" in line:
            progress(*line["progress"])
        else:
            last = line
    return last


def _error_of(line: dict[str, Any], exit_code: int, tail: str) -> UserError:
    if "error" not in line:
        if was_killed(exit_code):
            return ConversionError("error.export.killed")
        return ConversionError("error.export.died", how=how_ended(exit_code), said=tail.strip().rpartition("\n")[2])
    error = line["error"]
    kind: type[UserError] = getattr(errors, error["class"])
    return kind(error["key"], **error["values"])


def _tail(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read()[-4000:].decode("utf-8", "replace")

"""The process in which a GGUF is made: `python -m ollama_export.gguf.worker`, started by export.py.

A process of its own, because the converter needs the `gguf` of its own llama.cpp tree, and because the memory goes
back whole. One JSON object comes in on stdin (the arguments); JSON lines go out on stdout: {"progress": [done, total]}
in bytes, then {"result": {...}} or {"error": {...}}. When the reader is gone, writing fails and the work ends.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from file_formats.file_types import FILE_TYPES
from file_formats.gguf import decode, serving_order
from lora_trainer import errors
from ollama_export.gguf.converter import converter_folder, use_converter
from ollama_export.gguf.fingerprint import Fingerprint
from ollama_export.gguf.foreign_code import refuse_foreign_code
from ollama_export.gguf.foretaste import plan_without_learning
from ollama_export.gguf.from_folder import Plan, general_name, plan_folder
from ollama_export.gguf.from_gguf import is_mostly_new, plan_gguf
from ollama_export.gguf.head import gguf_head
from ollama_export.gguf.head_start import HeadStart
from ollama_export.gguf.k_quants import Shape, mixed
from ollama_export.gguf.lora_delta import read_adapter, require_merged
from ollama_export.gguf.serving_metadata import set_serving_metadata
from ollama_export.gguf.stream import GgufFile, GgufStream

SECONDS_BETWEEN_LINES = 0.1


def convert(arguments: dict[str, Any], report: Any) -> GgufFile:
    """Base model + adapter -> GGUF, in one pass over the weights.

    Raises ConversionError, ResourceError where the disk is full, and whatever the converter does.
    """
    base, out, file_type = Path(arguments["base"]), Path(arguments["out"]), arguments["file_type"]
    # imports and vocabularies make many objects that stay: nothing is gained by looking for garbage among them
    gc.disable()
    deltas = read_adapter(Path(arguments["adapter"]) if arguments["adapter"] else None)
    use_converter(converter_folder(Path(arguments["llama_cpp"]) if arguments["llama_cpp"] else None))
    # K-quants are mixed by the names of what would be in 16 bits
    floats = file_type if FILE_TYPES[file_type].by_converter else "f16"
    if arguments["foretaste"]:
        plan_without_learning(Path(arguments["foretaste"]), arguments["kind"], deltas, floats)
    ahead = HeadStart()

    def as_written(metadata: dict[str, bytes], plan: Plan) -> Plan:
        shape = Shape.read(lambda key, default: decode(metadata[key]) if key in metadata else default)
        return plan if floats == file_type else mixed(plan, file_type, shape)

    def begin(metadata: dict[str, bytes], plan: Plan) -> None:
        ahead.begin(as_written(metadata, plan))

    if arguments["kind"] == "gguf":
        metadata, plan = plan_gguf(base, deltas, floats)
    else:
        refuse_foreign_code(base)
        try:
            metadata, plan = plan_folder(base, deltas, floats, general_name(base, out.stem), before_vocabulary=begin)
        finally:
            ahead.stop()
    plan = as_written(metadata, plan)
    kind = FILE_TYPES[file_type].number
    if arguments["kind"] == "gguf" and not is_mostly_new(base, plan):
        kind = gguf_head(base).get("general.file_type", FILE_TYPES["f16"].number)
    serving = {name: arguments[name] for name in ("chat_template", "add_bos", "eos_token", "other_ends", "mark")}
    set_serving_metadata(metadata, **serving, file_type=kind)
    gc.enable()
    prints: dict[str, Fingerprint] = {}
    plan.sort(key=lambda entry: serving_order(entry[0].name))
    with GgufStream(out, metadata, [tensor for tensor, _ in plan], report) as stream:
        plan.reverse()
        while plan:
            tensor, source = plan.pop()
            pieces, prints[tensor.name] = ahead.pieces(tensor, source)
            stream.write(tensor, pieces)
            del source, pieces  # and with them the tensor's graph
        require_merged(deltas)
        made = stream.finish(file_type)
    known = {name: found.value() for name, found in prints.items()}
    return replace(made, fingerprints={name: value for name, value in known.items() if value[0]})


def _converted(arguments: dict[str, Any], report: Any) -> GgufFile:
    """As `convert`; memory that ran out is a MemoryError, whichever library asked for it."""
    try:
        return convert(arguments, report)
    except RuntimeError as error:
        if errors.as_memory_error(error):
            raise MemoryError from error
        raise


def reason_of(error: Exception) -> str:
    """What a foreign error says, and the line that raised it: many an assertion says nothing else."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    file = "/".join(Path(place.filename).parts[-2:])
    said = str(error).strip() or place.line
    return f"{type(error).__name__}: {said} ({file}, line {place.lineno})"


def main() -> int:
    """Do what stdin says."""
    # Ctrl-C reaches both processes: whether the work ends is the other one's decision
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arguments = json.loads(sys.stdin.buffer.read())
    # whatever the converter's libraries print goes to stderr; stdout is ours
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    last = 0.0

    def say(**line: Any) -> None:
        out.write(json.dumps(line, default=str) + "\n")
        out.flush()

    def report(done: int, total: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= SECONDS_BETWEEN_LINES:
            last = now
            say(progress=[done, total])

    try:
        made = _converted(arguments, report)
    except errors.UserError as error:
        say(error={"class": type(error).__name__, "key": error.key, "values": error.values})
        return error.exit_code
    except MemoryError:
        say(error={"class": "ResourceError", "key": "error.export.memory", "values": {}})
        return errors.ResourceError.exit_code
    except BrokenPipeError:
        return 1
    except Exception as error:
        traceback.print_exc()
        key = "error.export.file_missing" if isinstance(error, FileNotFoundError) else "error.export.converter"
        say(error={"class": "ConversionError", "key": key, "values": {"reason": reason_of(error)}})
        return errors.ConversionError.exit_code
    say(progress=[made.size, made.size])
    result = {"sha256": made.sha256, "size": made.size, "tensors": made.tensors}
    say(result={**result, "fingerprints": made.fingerprints})
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Whether what an archive holds is a run: its record, its adapters and its rows, each held against the others.

What isn't is refused by the name of what doesn't fit, with DataError.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from gzip import GzipFile
from pathlib import Path
from typing import Any

from file_formats.errors import BrokenFile
from file_formats.safetensors import read_head
from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.dataset import Dataset
from lora_trainer.errors import DataError, UsageError, UserError
from lora_trainer.models.recorded import is_commit
from lora_trainer.plan import TrainPlan
from ollama_export.server.names import check_name, parse_name
from pipeline.outcome.note import cleaned
from pipeline.run.record import MIGRATIONS, SCHEMA, migrated
from pipeline.run.rows import THOUGHT, rows_of
from pipeline.run.run import Run
from pipeline.travel.archive import CONFIG, RECORD, ROWS, WEIGHTS, Archive
from pipeline.travel.fields import MOST_ROWS, SHAPES
from pipeline.travel.packing import travelling
from pipeline.travel.shapes import is_plain, kept, misfit

MOST_TEXT = 1 << 30
"""Bytes of all rows, unpacked."""
_TENSOR = re.compile(r"base_model\.model\.([A-Za-z0-9_.]{1,200})\.lora_([AB])\.weight")
_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)
_WEIGHT_TYPES = ("F32", "F16", "BF16")
_PLAIN_LORA: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "auto_mapping": (None,),
    "layer_replication": (None,),
    "trainable_token_indices": (None,),
    "target_parameters": (None, []),
}
"""Of an adapter's configuration what says that it is a LoRA of linear layers and nothing else; so are all of ours."""
_CONFIG = ("r", "lora_alpha", "lora_dropout", "target_modules", "task_type", "peft_version", "inference_mode")
"""What else of it is kept."""


def read_record(archive: Archive) -> dict[str, Any]:
    """The record, of today's schema and of known fields alone.

    Raises UsageError("error.adopt.newer") for one of a later version, DataError for one that isn't a trained run's.
    """
    try:
        record = json.loads(archive.read(RECORD).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested without end"
        raise DataError("error.adopt.no_json", file=archive.place, reason=reason[:200]) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if type(schema) is not int or not (schema in MIGRATIONS or schema >= SCHEMA):
        raise _unfit(archive, "schema")
    if schema > SCHEMA:
        raise UsageError("error.adopt.newer", file=archive.place, schema=schema, known=SCHEMA)
    if not is_plain(record):
        raise DataError("error.adopt.record_signs", file=archive.place)
    if not isinstance(record.get("stages"), dict) or "train" not in record["stages"]:
        raise DataError("error.adopt.untrained", file=archive.place)
    try:
        record = travelling(Run(Path(), migrated(record)))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise _unfit(archive, str(error)[:80]) from error
    if wrong := misfit(record, SHAPES):
        raise _unfit(archive, wrong)
    return _checked(archive, kept(record, SHAPES))


def _checked(archive: Archive, record: dict[str, Any]) -> dict[str, Any]:
    """What shapes alone don't say."""
    try:
        plan = TrainPlan.from_json(record["plan"])
        ChatFormat.from_json(record["chat_format"])
    except UserError as error:
        raise _unfit(archive, "plan") from error
    try:
        record["name"] = check_name(record["name"])
    except UsageError as error:
        raise _unfit(archive, "name") from error
    if not _is_source(record["base"]["source"], record["base"]["revision"]):
        raise _unfit(archive, "base: source")
    steps = plan.total_steps(record["data"]["rows"])
    point = record.get("point")
    if record["training"]["steps"] > steps or (point and not 0 < point["step"] <= steps):
        raise _unfit(archive, "training: steps")
    record["note"] = cleaned(record.get("note") or "")
    return record


def _is_source(source: str, revision: str) -> bool:
    """Whether a base model's name is one that can be looked up: of a model in Ollama, of a hub's, or a mere name."""
    if source.startswith("ollama:"):
        return parse_name(source.removeprefix("ollama:")) is not None
    if is_commit(revision) or source.startswith("modelscope:"):
        return _HUB_ID.fullmatch(source.removeprefix("modelscope:")) is not None
    return source not in ("", ".", "..")


def check_adapter(archive: Archive, folder: Path, name: str, plan: TrainPlan) -> None:
    """Hold an adapter that was copied to `folder` against the plan, and write its configuration anew.

    `name`: its folder in the archive.
    """
    place = f"{name}/{CONFIG}"
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        unusual = [key for key, values in _PLAIN_LORA.items() if config.get(key, values[-1]) not in values]
        numbers = [config["r"], config["lora_alpha"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError("error.adopt.adapter", file=archive.place, member=place, reason=str(error)[:200]) from error
    if unusual or numbers != [plan.lora_rank, plan.lora_alpha]:
        what = ", ".join(unusual) or f"r {numbers[0]!r:.20}, lora_alpha {numbers[1]!r:.20}"
        raise DataError("error.adopt.adapter", file=archive.place, member=place, reason=what)
    _check_weights(archive, folder / WEIGHTS, f"{name}/{WEIGHTS}", plan)
    own = {key: values[0] for key, values in _PLAIN_LORA.items()}
    own |= {key: config[key] for key in _CONFIG if key in config and is_plain(config[key])}
    (folder / CONFIG).write_text(json.dumps(own, ensure_ascii=False, indent=2, sort_keys=True), encoding="utf-8")


def _check_weights(archive: Archive, path: Path, place: str, plan: TrainPlan) -> None:
    try:
        tensors = read_head(path).tensors
    except BrokenFile as broken:
        raise DataError("error.adopt.adapter", file=archive.place, member=place, reason=broken.reason) from broken
    halves: dict[str, set[str]] = {}
    for tensor, entry in tensors.items():
        found = _TENSOR.fullmatch(tensor)
        rank = entry.shape[{"A": 0, "B": 1}[found[2]]] if found and len(entry.shape) == 2 else None
        if found is None or rank != plan.lora_rank or entry.dtype not in _WEIGHT_TYPES or 0 in entry.shape:
            reason = f"{tensor!r:.120} {entry.dtype} {list(entry.shape)[:4]}"
            raise DataError("error.adopt.adapter", file=archive.place, member=place, reason=reason)
        halves.setdefault(found[1], set()).add(found[2])
    lonely = [module for module, sides in halves.items() if sides != {"A", "B"}]
    if lonely or not halves:
        reason = lonely[0] if lonely else "no weights"
        raise DataError("error.adopt.adapter", file=archive.place, member=place, reason=reason)


def check_rows(archive: Archive, run: Run) -> Dataset:
    """The rows that were copied beside a run's record, held against it: their number and their fingerprint."""
    path, data = run.folder / ROWS, run.record["data"]
    _check_unpacked(archive, path)
    rows = rows_of(run)
    if rows is None or not _are_dialogues(path):
        raise DataError("error.adopt.rows_unread", file=archive.place)
    counts = [len(rows.train), len(rows.val)]
    told = [data["rows"], data["val_rows"] if data.get("val_rows") is not None else counts[1]]
    if counts != told or rows.fingerprint != data["fingerprint"]:
        values = {"found": counts[0], "told": told[0], "val_found": counts[1], "val_told": told[1]}
        raise DataError("error.adopt.rows", file=archive.place, **values)
    return rows


def _check_unpacked(archive: Archive, path: Path) -> None:
    """Unpack the rows once, to nowhere: what grows without end is noticed before anybody keeps it."""
    size = lines = 0
    try:
        with GzipFile(path) as text:
            while piece := text.read(1 << 20):
                size, lines = size + len(piece), lines + piece.count(b"\n")
                if size > MOST_TEXT or lines > MOST_ROWS or (size > 64 << 20 and size > 200 * path.stat().st_size):
                    raise DataError("error.adopt.grows", file=archive.place, member=ROWS, size=f"{size / 1e6:.0f} MB")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("error.adopt.rows_unread", file=archive.place) from error


def _are_dialogues(path: Path) -> bool:
    """Whether every row is one: roles that there are, in turns, the assistant last, texts, and an answer to learn."""
    with GzipFile(path) as lines:
        for line in lines:
            row = json.loads(line)
            turns = [message for message in row["messages"] if message.get("role") != "system"]
            roles = [message.get("role") for message in turns]
            alternate = ["user", "assistant"] * (len(turns) // 2)
            texts = all(isinstance(m.get("content"), str) and _is_plain(m) for m in row["messages"])
            learnt = any("weight" not in message for message in turns if message["role"] == "assistant")
            named = isinstance(row["file"], str) and type(row["line"]) is int
            if not (texts and named and learnt and roles == alternate and len(row["messages"]) - len(turns) <= 1):
                return False
    return True


def _is_plain(message: Mapping[str, Any]) -> bool:
    """Role and content, and of an answer perhaps that it isn't learnt, and what was thought before it."""
    others = {name: value for name, value in message.items() if name not in ("role", "content")}
    if not others:
        return True
    marks = others.pop("weight", 0), others.pop(THOUGHT, "")
    return message.get("role") == "assistant" and not others and marks[0] == 0 and isinstance(marks[1], str)


def _unfit(archive: Archive, field: str) -> DataError:
    return DataError("error.adopt.record", file=archive.place, field=field)

"""Parquet, in which most published data sets lie (https://parquet.apache.org/docs/file-format)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_trainer.data.layouts.file_row import BadFile, FileRow
from lora_trainer.data.names import KEYS, are_known
from lora_trainer.data.written import keys_of, shown

MAGIC = b"PAR1"
_BATCH = 256
"""Rows that are taken out of the file at a time."""


def rows_of_parquet(data: bytes) -> Iterator[FileRow]:
    """The rows, counted by themselves: such a file has no lines.

    What has no value there is not there. Raises BadFile where it can't be read, or has no column that is known.
    """
    import pyarrow  # type: ignore[import-untyped, unused-ignore]
    from pyarrow import parquet

    number = 0
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(data))
        names = file.schema_arrow.names
        if not are_known(names):
            raise BadFile(0, "data.fault.head", keys=keys_of(names))
        # pictures and the like stay where they are
        columns = [name for name in names if name in KEYS]
        for batch in file.iter_batches(_BATCH, columns=columns):
            for values in batch.to_pylist():
                number += 1
                yield FileRow(number, _without_nulls(values))
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        raise BadFile(0, "data.fault.parquet", reason=shown(error, 200)) from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value

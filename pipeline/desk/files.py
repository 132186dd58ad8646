"""What the data desk is asked for: which files lie on it, and what is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_desk.opened import Files as Files
from data_desk.opened import Opened as Opened
from data_desk.opened import open_files as open_files
from data_desk.statistics import Kept as Kept
from data_desk.statistics import Statistics as Statistics
from lora_trainer.data.dataset import locate
from pipeline.data_places import DEFAULT_DATA, TRAIN, VAL, own_data
from pipeline.request import Request
from pipeline.run.history import History


def files_of(request: Request, history: History) -> Files | None:
    """The files that flags name, else those that a model's newest run was trained on, or its own folder's.

    None where no flag says any. Raises DataError where recorded files are gone.
    """
    if request.data_dir is None and request.train_file is None and request.ollama_name is not None:
        return _of_model(request.ollama_name, history)
    if request.data_dir is None and request.train_file is None:
        return None
    folder = request.data_dir or DEFAULT_DATA
    train = locate(request.train_file or Path(TRAIN), folder, named=request.train_file is not None)
    return Files(train, locate(request.val_file, folder, named=True) if request.val_file else train.parent / VAL)


def files_in(folder: Path) -> Files:
    """Those of a folder."""
    return Files(folder / TRAIN, folder / VAL)


def _of_model(name: str, history: History) -> Files:
    from ollama_export.server.names import check_name
    from pipeline.run.kept import with_recorded_data

    name = check_name(name)
    run = next((run for run in reversed(history.runs(name)) if "data" in run.record), None)
    if run is not None:
        taken = with_recorded_data(Request(ollama_name=name), run)
        if taken.train_file is not None:
            return Files(taken.train_file, taken.val_file or taken.train_file.parent / VAL)
    return files_in(own_data(name))


def told(opened: Opened, status: str) -> dict[str, Any]:
    """What `--json` tells."""
    files = opened.files
    return {
        "status": status,
        "file": str(files.train),
        "val_file": str(files.val) if files.val.exists() else None,
        "faults": len(opened.faults),
        **opened.statistics.told,
    }

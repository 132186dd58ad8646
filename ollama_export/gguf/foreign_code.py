"""Code that comes with a model is never run, whatever llama.cpp's converter tells its loaders.

For many families it passes `trust_remote_code=True`: a tokenizer_config.json whose `auto_map` names a .py beside it
would have that run.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from lora_trainer.errors import ConversionError


def refuse_foreign_code(folder: Path) -> None:
    """Let this process run nothing that lies in a model's `folder` from now on; it can't be taken back.

    Loaders of transformers take transformers' own classes where it has them. What would run all the same, code of the
    folder or of transformers' cache of such code, or a pickle, raises ConversionError there. To be called before the
    converter is imported.
    """
    from transformers import dynamic_module_utils
    from transformers.utils.hub import HF_MODULES_CACHE

    resolve = dynamic_module_utils.resolve_trust_remote_code

    def never(_: Any, *arguments: Any, **values: Any) -> Any:
        return resolve(False, *arguments, **values)

    dynamic_module_utils.resolve_trust_remote_code = never
    barred = _names(str(folder)) | _names(HF_MODULES_CACHE)

    @cache
    def is_barred(place: str) -> bool:
        return any(barred & {one, *one.parents} for one in _names(place))

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            raise ConversionError("error.export.foreign_code", path=str(folder), code=".".join(arguments))
        if event == "exec":
            place, file = os.path.split(getattr(arguments[0], "co_filename", ""))
            # what is made of a string, as namedtuples are, comes of no file
            if file and not file.startswith("<") and is_barred(place):
                raise ConversionError("error.export.foreign_code", path=str(folder), code=file)

    sys.addaudithook(hear)


def _names(folder: str) -> set[Path]:
    """A folder as it is called, and where its links lead."""
    return {Path(os.path.abspath(folder)), Path(folder).resolve()}  # noqa: PTH100 - the first keeps its links

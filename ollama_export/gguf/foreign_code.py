"""Code that comes with a model is never run, whatever llama.cpp's converter tells its loaders.

For many families it passes `trust_remote_code=True`: a tokenizer_config.json whose `auto_map` names a .py beside it
would have that run.
"""

from __future__ import annotations

import sys
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
    barred = [Path(place).resolve() for place in (folder, HF_MODULES_CACHE)]

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            raise ConversionError("error.export.foreign_code", path=str(folder), code=".".join(arguments))
        if event == "exec":
            file = getattr(arguments[0], "co_filename", "")
            # what is made of a string, as namedtuples are, has no file
            if not file.startswith("<") and any(Path(file).resolve().is_relative_to(place) for place in barred):
                raise ConversionError("error.export.foreign_code", path=str(folder), code=Path(file).name)

    sys.addaudithook(hear)

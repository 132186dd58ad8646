"""Nothing that comes with a base model is run when it is converted, whatever a loader is told."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from file_formats.safetensors import read_head
from ollama_export.gguf.converter import converter_folder
from tests.support.exports import export, tensors
from tests.support.foreign_code import MARK, add_code, loaders
from tests.support.project import ROOT
from tests.support.tiny import make_tiny

HARMLESS = {"torch.load, weights only"}
"""They run nothing of a file by themselves."""


@pytest.fixture(scope="module")
def with_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GLM-4, whose tokenizer the converter opens with `trust_remote_code=True`."""
    return add_code(make_tiny(tmp_path_factory.mktemp("glm4") / "base", "glm4"))


def tried(folder: Path, home: Path, *words: str) -> dict[str, dict[str, object]]:
    """What became of each loader, in a process of its own with an empty cache."""
    environment = {**os.environ, MARK: str(home / "ran"), "HF_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.support.foreign_code", str(folder), *words]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=True)
    return {one["loader"]: one for one in map(json.loads, done.stdout.splitlines())}


def test_a_folders_code_runs_in_no_loader_though_it_would(with_code: Path, tmp_path: Path) -> None:
    trusted = tried(with_code, tmp_path)
    assert {name for name, one in trusted.items() if not one["ran"]} == HARMLESS
    refused = tried(with_code, tmp_path, "refused")
    assert set(refused) == set(trusted) and not any(one["ran"] for one in refused.values())
    # where transformers has a class of its own, that one is taken
    automatic = {name for name in refused if name.startswith("Auto")}
    assert {name for name, one in refused.items() if one["raised"] is None} == automatic
    for name in set(refused) - automatic - HARMLESS:
        assert "error.export.foreign_code" in str(refused[name]["raised"]), name


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_the_converter_has_no_loader_that_is_not_tried(with_code: Path) -> None:
    folder = converter_folder()
    files = [*folder.glob("conversion/*.py"), *folder.glob("gguf-py/gguf/*.py")]
    found = {name for path in files for name in calls(path)}
    running = ("from_pretrained", "from_config", "exec_module", "import_module", "run_path")
    loading = {name for name in found if name.rpartition(".")[2] in running}
    loading |= found & {"torch.load", "pickle.load", "pickle.loads", "np.load", "exec", "eval", "__import__"}
    assert loading and loading <= set(loaders(with_code))


def test_a_folder_with_code_becomes_the_gguf_that_it_would_be_without(
    with_code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path / "ran"))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    made = export(with_code, tmp_path / "with.gguf", file_type="f16")
    assert not (tmp_path / "ran").exists()
    plain = export(make_tiny(tmp_path / "plain", "glm4"), tmp_path / "without.gguf", file_type="f16")
    expected = {name: tensor.data.tobytes() for name, tensor in tensors(plain.path).items()}
    assert {name: tensor.data.tobytes() for name, tensor in tensors(made.path).items()} == expected


def test_pickles_beside_the_weights_are_never_opened(with_code: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(with_code, tmp_path / "base"))
    weights = folder / "model.safetensors"
    # under a name that the converter doesn't look for, so that it would take pytorch_model.bin
    index = {"weight_map": dict.fromkeys(read_head(weights).tensors, "weights.safetensors")}
    weights.rename(folder / "weights.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert len(tensors(export(folder, tmp_path / "out.gguf", file_type="f16").path)) == 28

"""The house's one-way arrows, read from the imports themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("lora_trainer", "ollama_export", "pipeline", "wizard")
HEAVY = ("torch", "transformers", "peft", "datasets", "accelerate", "llama_cpp", "xllamacpp", "questionary", "rich")
LEAVES = (
    "pipeline/flags.py",
    "pipeline/request.py",
    "pipeline/strategies.py",
    "pipeline/history.py",
    "lora_trainer/errors.py",
    "lora_trainer/chat_format.py",
    "lora_trainer/plan.py",
    "lora_trainer/dataset.py",
    "lora_trainer/events.py",
    "ollama_export/template.py",
    "ollama_export/modelfile.py",
    "ollama_export/client.py",
)
SUBCLASSING = {
    "lora_trainer.step_trainer",
    "lora_trainer.loss",
    "lora_trainer.fused_layers",
    "lora_trainer.tree_attention",
}
"""Modules that need a heavy package to define a class: heavy themselves, so imported inside functions only."""
PLAIN = {"lora_trainer.errors", "lora_trainer.events", "lora_trainer.plan"}
"""What every room may import: errors, events and the plan are plain values."""


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that are imported anywhere below `tree`; of a package also the module in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in names if (ROOT / Path(*name.split("."))).with_suffix(".py").exists()]
            yield from inside or [str(node.module)]


def at_import_time(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: not those in functions or under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from at_import_time(node)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_imports(path: Path) -> set[str]:
    return {name for name in imports(parsed(path)) if name.split(".")[0] in (*ROOMS, "train_to_ollama")}


@pytest.mark.parametrize("path", sources(), ids=place)
def test_arrows_point_one_way(path: Path) -> None:
    room = place(path).split("/")[0]
    allowed = {
        "lora_trainer": ("lora_trainer",),
        "ollama_export": ("ollama_export",),
        "pipeline": ("pipeline", "lora_trainer", "ollama_export"),
        "wizard": ("wizard", "pipeline"),
    }[room]
    more = {"lora_trainer.errors", "lora_trainer.chat_format"} if room == "ollama_export" else PLAIN
    wrong = {name for name in room_imports(path) if name.split(".")[0] not in allowed and name not in more}
    assert wrong == set()


@pytest.mark.parametrize("path", sources(), ids=place)
def test_heavy_packages_are_imported_inside_functions_only(path: Path) -> None:
    top = {name for statement in at_import_time(parsed(path)) for name in imports_of(statement)}
    if place(path).removesuffix(".py").replace("/", ".") not in SUBCLASSING:
        assert {name for name in top if name.split(".")[0] in HEAVY or name in SUBCLASSING} == set()


def imports_of(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from imports(ast.Module([statement], []))


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_nothing_heavy_at_all(leaf: str) -> None:
    own = {name.split(".")[0] for name in imports(parsed(ROOT / leaf))}
    assert own & {"torch", "transformers", "questionary", "rich"} == set()


def test_one_module_asks_and_one_room_draws() -> None:
    users: dict[str, set[str]] = {"questionary": set(), "prompt_toolkit": set(), "rich": set()}
    for path in [*sources(), ROOT / "train_to_ollama.py"]:
        for package in {name.split(".")[0] for name in imports(parsed(path))} & set(users):
            users[package].add(place(path))
    assert users["questionary"] == users["prompt_toolkit"] == {"wizard/prompts.py"}
    assert {place for place in users["rich"] if not place.startswith("wizard/screen/")} == set()


def test_nothing_is_printed_outside_of_the_screen() -> None:
    printing = {
        place(path)
        for path in [*sources(), ROOT / "train_to_ollama.py"]
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    }
    # A program of its own, read by programs.
    assert {name for name in printing if not name.startswith("wizard/screen/")} <= {"ollama_export/template.py"}


def test_the_entry_needs_only_the_standard_library_to_start() -> None:
    tree = parsed(ROOT / "train_to_ollama.py")
    top = {name.split(".")[0] for statement in at_import_time(tree) for name in imports_of(statement)}
    assert top <= sys.stdlib_module_names


def test_the_entry_stays_small() -> None:
    assert len((ROOT / "train_to_ollama.py").read_text(encoding="utf-8").splitlines()) <= 150


def test_package_files_stay_empty() -> None:
    inits = [path for path in sources() if path.name == "__init__.py"]
    assert [place(path) for path in inits if path.read_text(encoding="utf-8").strip()] == []

"""The house's one-way arrows, read from the imports themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.project import ROOT

ROOMS: dict[str, tuple[str, ...]] = {
    "file_formats": (),
    "lora_trainer": ("file_formats",),
    "ollama_export": ("file_formats", "lora_trainer.errors", "lora_trainer.chat_format", "lora_trainer.proxies"),
    "data_desk": ("file_formats", "lora_trainer.data", "lora_trainer.errors", "lora_trainer.chat_format"),
    "pipeline": ("ollama_export", "data_desk", "lora_trainer", "file_formats"),
    "wizard": ("pipeline", "lora_trainer.errors", "lora_trainer.events", "lora_trainer.plan"),
}
"""Room -> what it may import beside itself: rooms below it, or single modules of them (errors, events and the plan are
plain values)."""
WINGS: dict[str, tuple[str, ...]] = {
    "lora_trainer.data": ("lora_trainer.engine", "lora_trainer.models", "lora_trainer.train"),
    "lora_trainer.models": ("lora_trainer.engine", "lora_trainer.train"),
    "lora_trainer.engine": ("lora_trainer.train",),
    "ollama_export.gguf": ("ollama_export.server",),
    "ollama_export.llama_cpp": ("ollama_export.server",),
}
"""Wing -> what of its own room it knows nothing of."""
HEAVY = ("torch", "transformers", "peft", "datasets", "accelerate", "llama_cpp", "xllamacpp", "questionary", "rich")
LEAVES = (
    "pipeline/flags.py",
    "pipeline/request.py",
    "pipeline/strategies.py",
    "pipeline/run/history.py",
    "pipeline/run/standing.py",
    "lora_trainer/errors.py",
    "lora_trainer/chat_format.py",
    "lora_trainer/plan.py",
    "lora_trainer/data/dataset.py",
    "lora_trainer/events.py",
    "lora_trainer/engine/schedule.py",
    "ollama_export/template.py",
    "ollama_export/modelfile.py",
    "ollama_export/server/client.py",
)
SUBCLASSING = {
    f"lora_trainer.engine.{name}"
    for name in (
        "step_trainer",
        "checkpointing",
        "reporter",
        "evaluation",
        "loss",
        "fused_layers",
        "tree_attention",
    )
}
"""Modules that need a heavy package to define a class: heavy themselves, so imported inside functions only."""
MOST_LINES, MOST_FILES = 330, 18


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def program() -> dict[str, str]:
    """Module name -> source, of every module but the entry."""
    return {module_name(path): path.read_text(encoding="utf-8") for path in sources() if path.name != "__init__.py"}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    return place(path).removesuffix(".py").replace("/", ".")


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that are imported anywhere below `tree`, in functions too; of a package also the module in it."""
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


def is_in(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


def upward_arrows(modules: Mapping[str, str]) -> set[tuple[str, str]]:
    """(module, import) of every arrow between `modules` (name -> source) that the rooms and wings don't allow."""
    found = set()
    for module, source in modules.items():
        room = module.split(".")[0]
        barred = [name for wing, names in WINGS.items() if is_in(module, wing) for name in names]
        for name in imports(ast.parse(source)):
            if name.split(".")[0] not in (*ROOMS, "train_to_ollama", "tests", "bench"):
                continue
            inside = is_in(name, room) and not any(is_in(name, other) for other in barred)
            if not inside and not any(is_in(name, other) for other in ROOMS[room]):
                found.add((module, name))
    return found


def circle(modules: Mapping[str, str]) -> list[str]:
    """Modules that import each other in a circle, in order; empty where there is none. Imports in functions and those
    for type checkers count too: who needs them to be understood needs them."""
    arrows = {
        module: sorted({name for name in imports(ast.parse(source)) if name in modules and name != module})
        for module, source in modules.items()
    }
    done: set[str] = set()
    path: list[str] = []

    def walk(module: str) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        for other in arrows[module]:
            if found := walk(other):
                return found
        path.pop()
        done.add(module)
        return []

    return next((found for module in sorted(arrows) if (found := walk(module))), [])


def test_arrows_point_downwards_only() -> None:
    assert upward_arrows(program()) == set()


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("file_formats.planted", "import lora_trainer.errors"),
        ("lora_trainer.data.planted", "from lora_trainer.engine.batching import micro_batches"),
        ("lora_trainer.models.planted", "def f():\n    from lora_trainer.engine import memory"),
        ("lora_trainer.engine.planted", "from lora_trainer.train import train"),
        ("lora_trainer.planted", "from ollama_export.template import ollama_template"),
        ("ollama_export.planted", "from lora_trainer.data.dataset import Dataset"),
        ("ollama_export.gguf.planted", "from ollama_export.server.client import OllamaClient"),
        ("ollama_export.planted", "import pipeline.job"),
        ("data_desk.planted", "from lora_trainer.models.source import BaseModel"),
        ("pipeline.planted", "from wizard.words import t"),
        ("wizard.planted", "from lora_trainer.data.dataset import Dataset"),
        ("wizard.planted", "from ollama_export.server.client import OllamaClient"),
        ("pipeline.planted", "from tests.support.project import ROOT"),
    ],
)
def test_an_arrow_that_points_upwards_is_found(module: str, statement: str) -> None:
    assert {where for where, _ in upward_arrows({**program(), module: statement})} == {module}


def test_no_module_comes_back_to_itself() -> None:
    assert circle(program()) == []


def test_a_circle_is_found_also_where_functions_and_type_checkers_close_it() -> None:
    planted = {
        "lora_trainer.one": "from lora_trainer import two",
        "lora_trainer.two": "def f():\n    import lora_trainer.three",
        "lora_trainer.three": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lora_trainer.one",
    }
    # `from lora_trainer import two` names a module only where there is such a file
    planted["lora_trainer.one"] = "import lora_trainer.two"
    assert sorted(circle({**program(), **planted})) == sorted(planted)
    del planted["lora_trainer.three"]
    assert circle({**program(), **planted}) == []


@pytest.mark.parametrize("path", sources(), ids=place)
def test_heavy_packages_are_imported_inside_functions_only(path: Path) -> None:
    top = {name for statement in at_import_time(parsed(path)) for name in imports_of(statement)}
    if module_name(path) not in SUBCLASSING:
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
    assert users["questionary"] == {"wizard/prompts.py"}
    assert users["prompt_toolkit"] == {"wizard/prompts.py", "wizard/browse.py"}
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


def test_files_and_folders_stay_small_enough_to_be_one_idea() -> None:
    def lines(path: Path) -> int:
        return len(path.read_text(encoding="utf-8").splitlines())

    assert lines(ROOT / "train_to_ollama.py") <= 150
    assert {place(path): lines(path) for path in sources() if lines(path) > MOST_LINES} == {}
    folders = [path.parent for path in sources()]
    assert {place(folder) for folder in folders if folders.count(folder) > MOST_FILES} == set()


def test_package_files_stay_empty() -> None:
    inits = [path for path in sources() if path.name == "__init__.py"]
    assert [place(path) for path in inits if path.read_text(encoding="utf-8").strip()] == []

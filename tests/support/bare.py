"""An environment in which some packages, and what these need, are all that is installed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.project import ROOT

HIDING = '''
import sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    """Finds neither modules nor metadata of what is hidden."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {names!r} else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *context):
        found = super().find_distributions(*context)
        return (one for one in found if one.name.lower().replace("_", "-") not in {distributions!r})

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
'''


def bare_environment(folder: Path, packages: Iterable[str], without: Collection[str] = ()) -> dict[str, str]:
    """What os.environ is to be for processes that see these packages and what they need, less some.

    `folder` is empty and theirs: Python imports the sitecustomize in it at its start.
    """
    seen = {name for name in _needed(packages) if name not in without}
    owners = {name: {canonicalize_name(owner) for owner in own} for name, own in packages_distributions().items()}
    names = {name for name, own in owners.items() if not own & seen}
    distributions = set().union(*owners.values()) - seen
    text = HIDING.replace("{names!r}", repr(names)).replace("{distributions!r}", repr(distributions))
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def _needed(packages: Iterable[str]) -> set[str]:
    """The packages, and all that they need directly or not."""
    needed: set[str] = set()
    todo = [canonicalize_name(package) for package in packages]
    while todo:
        package = todo.pop()
        if package in needed:
            continue
        try:
            found = [Requirement(text) for text in requires(package) or ()]
        except PackageNotFoundError:  # needed elsewhere
            continue
        needed.add(package)
        todo += [canonicalize_name(one.name) for one in found if not one.marker or one.marker.evaluate({"extra": ""})]
    return needed

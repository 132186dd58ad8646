"""Conversations that are kept as trees: every message knows the one before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def path_to(end: Any, nodes: Mapping[str, Any], before: str) -> list[dict[str, Any]]:
    """The nodes from the beginning to `end`, each found by the one behind it; `before` is the field that names it.

    Where there is no such end, it is the last node that is nobody's beginning. A circle is followed once.
    """
    if not isinstance(end, str) or end not in nodes:
        followed = {node[before] for node in nodes.values() if isinstance(node, dict) and _names(node, before)}
        end = next((name for name in reversed(list(nodes)) if name not in followed), None)
    path: list[dict[str, Any]] = []
    seen = set()
    while isinstance(end, str) and end in nodes and end not in seen:
        seen.add(end)
        node = nodes[end]
        if not isinstance(node, dict):
            break
        path.append(node)
        end = node.get(before)
    return path[::-1]


def _names(node: Mapping[str, Any], before: str) -> bool:
    return isinstance(node.get(before), str)

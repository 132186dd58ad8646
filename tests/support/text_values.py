"""Which values the code gives each of its texts, read off the source without running it.

A key is a string, or an f-string that stands for every key that it can make. Its values are the keywords of the call
that it stands in, or the dict behind it in an event, a finding or a tuple; names are followed back to where they were
last given a value for sure, calls to what the function returns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

KEY = re.compile(r"[a-z_]+(\.[a-z0-9_A-Z]+)+")
CARRY = ("Note", "Finding", "Check")
"""Calls whose values stand in a dict behind the key."""
PREFIXED = {"fault": "data.fault.", "Line": "card.", "NextStep": "card.next."}
"""Calls that name a text without its beginning."""
BEHIND = {"Line": 2, "NextStep": 1}
"""Where in a call whose first argument names a text the dict with its values stands."""
CHOICES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.match_case)
"""What may be passed over when the program runs."""


@dataclass(frozen=True)
class Given:
    """One place that names a text, or with a pattern every text of that form."""

    key: str | re.Pattern[str]
    place: str
    values: frozenset[str] | None
    """Names of the values that it surely gives; None where they can't be read off."""


def given(modules: Mapping[str, str]) -> list[Given]:
    """Every place in `modules` (name -> source) that names a text."""
    trees = {name: ast.parse(source) for name, source in modules.items()}
    readers = {name: _Reader(name, tree) for name, tree in trees.items()}
    for reader in readers.values():
        reader.others = readers
    return [found for reader in readers.values() for found in reader.read()]


class _Reader:
    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module, self.tree = module, tree
        self.others: Mapping[str, _Reader] = {}
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self.read_off: set[ast.AST] = set()

    def read(self) -> Iterator[Given]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield from self.in_call(node)
            elif isinstance(node, ast.Tuple):
                for key, behind in zip(node.elts, node.elts[1:], strict=False):
                    if isinstance(key, ast.Constant) and isinstance(behind, ast.Dict | ast.Name):
                        yield from self.found(key, self.names(behind, node))
        for node in ast.walk(self.tree):
            named = isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.fullmatch(node.value)
            if named and node not in self.read_off and not self.is_compared(node):
                yield Given(named[0], f"{self.module}:{node.lineno}", None)

    def in_call(self, call: ast.Call) -> Iterator[Given]:
        called = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        place = f"{self.module}:{call.lineno}"
        keywords: frozenset[str] | None = frozenset(keyword.arg for keyword in call.keywords if keyword.arg)
        for keyword in call.keywords:
            if keyword.arg is None:
                keywords = _both(keywords, self.names(keyword.value, call))
        if called == "checking":  # the facts of a check that went well
            if isinstance(item := self.parents[call], ast.withitem) and isinstance(item.optional_vars, ast.Name):
                block = self.parents[item]
                assert isinstance(block, ast.With)
                key = f"check.{ast.literal_eval(call.args[1])}.ok"
                yield Given(key, place, self.variable(item.optional_vars.id, block.body[-1], item))
            return
        for at, argument in enumerate(call.args):
            if called == "Check" and at == 0:  # its name
                self.read_off.add(argument)
                continue
            values = keywords
            if called in CARRY:
                values = self.names(call.args[at + 1], call) if len(call.args) > at + 1 else frozenset()
            if called in BEHIND:
                if at > 0:
                    break
                behind = call.args[BEHIND[called]] if len(call.args) > BEHIND[called] else ast.Dict([], [])
                values = self.names(behind, call)
            yield from self.found(argument, values, PREFIXED.get(called, ""))

    def found(self, key: ast.expr, values: frozenset[str] | None, prefix: str = "") -> Iterator[Given]:
        for said in self.keys(key, key):
            self.read_off.add(said)
            place = f"{self.module}:{said.lineno}"
            if isinstance(said, ast.Constant) and KEY.fullmatch(prefix + str(said.value)):
                yield Given(prefix + str(said.value), place, values)
            elif isinstance(said, ast.JoinedStr) and re.match(r"[a-z_]+\.", prefix + _beginning(said)):
                parts = (re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"\w+" for p in said.values)
                yield Given(re.compile(re.escape(prefix) + "".join(parts)), place, values)

    def keys(self, expression: ast.expr, at: ast.AST) -> Iterator[ast.expr]:
        match expression:
            case ast.Constant(str()) | ast.JoinedStr():
                yield expression
            case ast.IfExp(body=one, orelse=other):
                yield from self.keys(one, at)
                yield from self.keys(other, at)
            case ast.Name(name) if binding := self.binding(name, at):
                yield from self.keys(binding.value, binding)

    def names(self, expression: ast.expr | None, at: ast.AST) -> frozenset[str] | None:
        """The keys of the dict that an expression is."""
        match expression:
            case ast.Dict(keys, values):
                found: frozenset[str] | None = frozenset()
                for key, value in zip(keys, values, strict=True):
                    own = frozenset({str(key.value)}) if isinstance(key, ast.Constant) else None
                    found = _both(found, self.names(value, at) if key is None else own)
                return found
            case ast.BinOp(left, ast.BitOr(), right):
                return _both(self.names(left, at), self.names(right, at))
            case ast.Name(name):
                binding = self.binding(name, at)
                return self.variable(name, at, binding) if binding else None
            case ast.Call(ast.Name(name)):
                return self.returned(name)
        return None

    def returned(self, function: str) -> frozenset[str] | None:
        """The keys of the dict that a function of this module, or an imported one, returns."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef) and node.name == function:
                ends = [end for end in ast.walk(node) if isinstance(end, ast.Return)]
                found = [self.names(end.value, end) for end in ends]
                sure = [names for names in found if names is not None]
                return frozenset.intersection(*sure) if sure and len(sure) == len(found) else None
            imported = node.names if isinstance(node, ast.ImportFrom) and node.module in self.others else ()
            if function in (alias.name for alias in imported):
                return self.others[node.module].returned(function)
        return None

    def variable(self, name: str, at: ast.AST, binding: ast.AST) -> frozenset[str] | None:
        """The keys that the dict in a variable has at a place, after it was bound."""
        start, end = (binding if isinstance(binding, ast.stmt) else self.parents[binding]).lineno, at.end_lineno
        found = self.names(binding.value, binding) if isinstance(binding, ast.Assign | ast.AnnAssign) else frozenset()
        for node in ast.walk(self.scope(at)):
            if not isinstance(node, ast.stmt) or not start < node.lineno <= end or not self.is_sure(node, at):
                continue
            if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.BitOr) and _is(node.target, name):
                found = _both(found, self.names(node.value, node))
            if isinstance(node, ast.Assign):
                targets = [t for target in node.targets for t in getattr(target, "elts", [target])]
                own = [t.slice for t in targets if isinstance(t, ast.Subscript) and _is(t.value, name)]
                found = _both(found, frozenset(str(key.value) for key in own if isinstance(key, ast.Constant)))
        return found

    def binding(self, name: str, at: ast.AST) -> ast.Assign | ast.AnnAssign | None:
        """The last statement before a place that gives a variable its value; None where that isn't sure."""
        bindings = [
            node
            for node in ast.walk(self.scope(at))
            if (isinstance(node, ast.Assign) and any(_is(target, name) for target in node.targets))
            or (isinstance(node, ast.AnnAssign) and node.value is not None and _is(node.target, name))
        ]
        before = [node for node in bindings if node.lineno < at.lineno]  # type: ignore[attr-defined]
        last = max(before, key=lambda node: node.lineno, default=None)
        return last if last is not None and self.is_sure(last, at) else None

    def scope(self, node: ast.AST) -> ast.AST:
        while node in self.parents and not isinstance(node, ast.FunctionDef):
            node = self.parents[node]
        return node

    def branches(self, node: ast.AST) -> set[tuple[ast.AST, bool]]:
        """Every choice that a place stands in, and whether behind its else."""
        found = set()
        while node in self.parents:
            child, node = node, self.parents[node]
            if isinstance(node, CHOICES):
                found.add((node, child in getattr(node, "orelse", ())))
        return found

    def is_sure(self, node: ast.AST, at: ast.AST) -> bool:
        return self.branches(node) <= self.branches(at)

    def is_compared(self, node: ast.AST) -> bool:
        above = self.parents[node]
        return isinstance(self.parents[above] if isinstance(above, ast.Tuple) else above, ast.Compare)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other


def _beginning(said: ast.JoinedStr) -> str:
    first = said.values[0]
    return str(first.value) if isinstance(first, ast.Constant) else ""


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name

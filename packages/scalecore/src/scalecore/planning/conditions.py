"""Conditions over the dimensions of an architecture, such as `d_model == 1024 and n_layers >= 256` (guard G33).

Parsed with Python's grammar and evaluated by the rules below; the text is never executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
MAX_LENGTH = 500


class Predicate:
    """A condition over named integers. Raises ValueError for an invalid text."""

    def __init__(self, text: str, *, names: Collection[str]) -> None:
        self.text = text
        if len(text) > MAX_LENGTH:
            raise ValueError(f"longer than {MAX_LENGTH} characters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError(f"{text!r} is not a condition such as `d_model == 1024 and n_layers >= 256`") from None
        self._check(self._tree, names)

    def __call__(self, values: Mapping[str, int]) -> bool:
        try:
            return bool(_evaluate(self._tree, values))
        except ZeroDivisionError:
            raise ValueError(f"{self.text!r} divides by zero for {dict(values)}") from None

    def _check(self, node: ast.expr, names: Collection[str]) -> None:
        match node:
            case ast.BoolOp(values=parts):
                pass
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=part):
                parts = [part]
            case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
                parts = [left, *rest]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                parts = [left, right]
            case ast.Name(id=name):
                if name not in names:
                    raise ValueError(
                        f"{name!r} in {self.text!r} is not a dimension; the dimensions are {', '.join(names) or 'none'}"
                    )
                parts = []
            case ast.Constant(value=value) if type(value) in (int, float):
                parts = []
            case _:
                raise ValueError(
                    f"`{ast.unparse(node)}` is not supported in {self.text!r}; use dimensions, numbers, + - * / // %, "
                    "comparisons, and, or, not"
                )
        for part in parts:
            self._check(part, names)


def _evaluate(node: ast.expr, values: Mapping[str, int]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_evaluate(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_evaluate(part, values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _evaluate(part, values)
        case ast.UnaryOp(operand=part):
            return -_evaluate(part, values)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            terms = [_evaluate(term, values) for term in (left, *rest)]
            return all(_COMPARISONS[type(op)](terms[i], terms[i + 1]) for i, op in enumerate(ops))
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=value):
            return value
    raise AssertionError(f"unchecked node {ast.dump(node)}")

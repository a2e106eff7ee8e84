"""Read YAML 1.2 as plain values of safe types, with the position of every key and value.

Numbers are written as in JSON; `1e-3`, `.5`, `5.` and a leading `+` are numbers too. Only `true` and `false` are
booleans, only `null`, `~` and empty values are null. Everything else is text: `on`, `no`, `12:30`, `2024-01-01`,
`007`, `1_000`, `.inf`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import yaml
from attrs import evolve, field, frozen
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from scalecore.config.messages import KeyPath, Position, Problem

MAX_BYTES = 256 * 1024
_MAX_DEPTH = 40
_MAX_VALUES = 20_000
_MAX_DIGITS = 300

_NULL, _BOOL, _INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_INT_PATTERN = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT_PATTERN = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


@frozen(kw_only=True)
class Tree:
    """The values of a file as plain Python types, the positions of its keys and values, and its problems."""

    root: Any
    values: dict[KeyPath, Position] = field(factory=dict)
    keys: dict[KeyPath, Position] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    unread: set[KeyPath] = field(factory=set)
    """Paths of values that could not be read and are None instead."""

    def position(self, path: KeyPath, *, key: bool = False) -> Position:
        """The position to show for `path`: that of a single value, and that of the key of a mapping or list, or with
        `key`.

        For a missing path it is the position of the nearest parent.
        """
        if path not in self.values and path not in self.keys:
            return self.position(path[:-1], key=True)
        if path in self.keys and (key or isinstance(self.at(path), dict | list)):
            return self.keys[path]
        return self.values.get(path) or self.keys[path]

    def problem(
        self, path: KeyPath, message: str, *, key: bool = False, kind: Literal["file", "plugin"] = "file"
    ) -> Problem:
        """A problem with the `position` of `path`."""
        return Problem(position=self.position(path, key=key), path=path, message=message, kind=kind)

    def at(self, path: KeyPath) -> Any:
        """The value at `path`, or None."""
        value = self.root
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value


class _TooDeepError(Exception):
    def __init__(self, mark: yaml.Mark) -> None:
        self.mark = mark


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML without its constructors and without the resolver of YAML 1.1."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Limited here, since composing recurses.
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _TooDeepError(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|false)\Z"), list("tf"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:null|~|)\Z"), ["n", "~", ""])
_Loader.add_implicit_resolver(_INT, _INT_PATTERN, list("-+0123456789"))
_Loader.add_implicit_resolver(_FLOAT, _FLOAT_PATTERN, list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """PyYAML that quotes text that `parse` would read as a number, but YAML 1.1 would not, such as `1e3`."""


_Dumper.add_implicit_resolver(_FLOAT, _FLOAT_PATTERN, list("-+.0123456789"))


def dump(value: Any, **style: Any) -> str:
    """Plain values as YAML that `parse` reads as the same values, with keys in order.

    `style` is passed to PyYAML's `dump`.
    """
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **style)
    return text


def parse(text: str, *, source: str, override: str | None = None, at: KeyPath = ()) -> Tree:
    """Parse YAML. `source` is the name of the file in positions; `override` replaces them for text of the command line.

    `at` is the future path of the value. Problems are listed in `problems`; nothing is raised.
    """
    reader = _Walk(source=source, override=override, at=at)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return reader.unreadable(f"larger than the limit of {MAX_BYTES // 1024} KiB")
    try:
        node = _Loader(text).get_single_node()
    except _TooDeepError as error:
        return reader.unreadable(f"nested more than {_MAX_DEPTH} levels deep", error.mark)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        return reader.unreadable(
            f"the character U+{ord(text[error.position]):04X} is not allowed in YAML", line=line, column=column
        )
    except yaml.MarkedYAMLError as error:
        message, mark = _explained(error)
        return reader.unreadable(f"not valid YAML: {message}", mark)
    except (ValueError, OverflowError):
        # PyYAML passes the number of an escape such as "\U99999999" to `chr` unchecked.
        return reader.unreadable("not valid YAML: an escape in quotes is not a character")
    return reader.tree(node)


def _explained(error: yaml.MarkedYAMLError) -> tuple[str, yaml.Mark | None]:
    """PyYAML's message in plain words, and the mark to show."""
    problem, mark = error.problem or "cannot be read", error.problem_mark or error.context_mark
    if "'\\t'" in problem:
        return "a tab where spaces are expected; indent with spaces", mark
    if problem.startswith("but found another document"):
        return "a second document starts here (`---`); an experiment file has one", mark
    if problem == "mapping values are not allowed here":
        return "a `: ` where no key is expected; check the indentation, or put the text in quotes", mark
    if problem.endswith(("end of stream", "<stream end>'")) and error.context_mark is not None:
        what = "text in quotes" if "scalar" in (error.context or "") else "list" if "]" in problem else "mapping"
        return f"the {what} that starts here is not closed", error.context_mark
    start = error.context_mark
    since = f" from line {start.line + 1}, column {start.column + 1}" if start is not None and start is not mark else ""
    return f"{error.context}{since}, {problem}" if error.context else problem, mark


class _Walk:
    """Converts nodes to values and records positions; aliases are expanded, and the number of values is limited."""

    def __init__(self, *, source: str, override: str | None, at: KeyPath) -> None:
        self._source = source
        self._override = override
        self._at = at
        self._result = Tree(root=None)
        self._count = 0
        self._open: list[yaml.Node] = []

    def unreadable(self, message: str, mark: yaml.Mark | None = None, *, line: int = 0, column: int = 0) -> Tree:
        position = self._position(mark) if mark is not None else self._at_line(line, column)
        problem = Problem(position=position, path=self._at, message=message)
        return Tree(root=None, problems=[problem], unread={self._at})

    def tree(self, node: yaml.Node | None) -> Tree:
        if node is None:
            # An empty file, or only comments; an empty override is null.
            self._result.values[self._at] = self._at_line(1, 1)
            root = None
        else:
            try:
                root = self._value(node, self._at)
            except _TooManyError:
                return self.unreadable(f"more than {_MAX_VALUES} values, aliases counted each time", node.start_mark)
        return evolve(self._result, root=root)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise _TooManyError
        self._result.values[path] = self._position(node.start_mark)
        if any(node is outer for outer in self._open):
            return self._problem(node, path, "the alias is inside the value that it refers to")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                if node.tag != _MAP:
                    return self._foreign_tag(node, path)
                return dict(self._items(node, path))
            if node.tag != _SEQ:
                return self._foreign_tag(node, path)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.pop()

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STR:
                hint = (
                    f"; put {key_node.value} in quotes"
                    if isinstance(key_node, yaml.ScalarNode) and key_node.value
                    else ""
                )
                self._note(key_node, path, f"keys must be strings{hint}")
                continue
            key, inner = key_node.value, (*path, key_node.value)
            if key == "<<":
                self._note(key_node, inner, "merge keys (`<<`) are not part of YAML 1.2; write the keys out")
            elif inner in self._result.keys:
                first = self._result.keys[inner]
                where = f"line {first.line}, column {first.column}" if self._override is None else "the same value"
                self._note(key_node, inner, f"the key is given twice, first in {where}")
            else:
                self._result.keys[inner] = self._position(key_node.start_mark)
                yield key, self._value(value_node, inner)

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        match node.tag:
            case tag if tag == _STR:
                try:
                    # JSON writes a character beyond U+FFFF as a pair of escapes.
                    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
                except UnicodeDecodeError:
                    return self._problem(node, path, "the text has half a character, which cannot be written to files")
                if "\0" in text:
                    return self._problem(node, path, "the text has a null character, which is not allowed")
                return text
            case tag if tag == _NULL and text in ("", "~", "null"):
                return None
            case tag if tag == _BOOL and text in ("true", "false"):
                return text == "true"
            case tag if tag == _INT and _INT_PATTERN.match(text):
                if len(text) > _MAX_DIGITS:
                    return self._problem(node, path, f"a number of {len(text)} digits is too large")
                return int(text)
            case tag if tag == _FLOAT and _FLOAT_PATTERN.match(text):
                number = float(text)
                return (
                    number if math.isfinite(number) else self._problem(node, path, f"{text} is too large for a number")
                )
        return self._foreign_tag(node, path)

    def _foreign_tag(self, node: yaml.Node, path: KeyPath) -> None:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        self._problem(node, path, f"the tag {tag!r} is not allowed here; leave it out")

    def _problem(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self._result.unread.add(path)
        self._note(node, path, message)

    def _note(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        position = self._position(node.start_mark)
        self._result.problems.append(Problem(position=position, path=path, message=message))

    def _position(self, mark: yaml.Mark) -> Position:
        return self._at_line(mark.line + 1, mark.column + 1)

    def _at_line(self, line: int, column: int) -> Position:
        if self._override is not None:
            return Position(source="<command line>", override=self._override, sets=self._at)
        return Position(source=self._source, line=line, column=column)


class _TooManyError(Exception):
    pass

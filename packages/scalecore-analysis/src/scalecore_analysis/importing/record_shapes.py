"""Identify the architecture of an imported record by its dimensions and the names that the model family derives.

A budget never completes a record (guard G17): exactly one of all legal architectures, of any size, must have all the
values in the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isclose

from attrs import frozen

from scalecore.api.model import SizedFamily
from scalecore.api.space import DataShape
from scalecore_analysis.importing.readers import OldRecord, as_number, same

LARGEST = 10**9
"""Larger values are not sizes."""
Row = tuple[Mapping[str, int], Mapping[str, float]]
"""An architecture, and its derived values."""


class UnnamedShapeError(Exception):
    """The reason why a record identifies no architecture of the model."""


@frozen(kw_only=True)
class NamedShape:
    """The only legal architecture with the values of a record."""

    values: Mapping[str, int]
    completed: tuple[str, ...] = ()
    """Dimensions that are missing in the record, and have only one value in the grid given the others."""


class RecordShapes:
    """All legal architectures of a model family for a study's data, with the family's derived names.

    Exceptions of the family's rules propagate.
    """

    def __init__(self, family: SizedFamily, data: DataShape) -> None:
        space = family.architecture_space(data)
        self.data = data
        self._family = family
        self.dimensions = tuple(space.dimensions)
        self.derived = tuple(space.derived)
        self._rules = space.derived
        self._read: dict[str, set[str]] = {name: set() for name in space.derived}
        """The dimensions that each derived name's rule reads."""
        self.rows: list[Row] = [
            (dict(one), {name: float(rule(_Reader(one, self._read[name]))) for name, rule in space.derived.items()})
            for one in space.architectures
        ]

    def num_parameters(self, architecture: Mapping[str, int]) -> int:
        """The number of parameters of an architecture."""
        return self._family.num_parameters(architecture, self.data)

    def named(self, record: OldRecord) -> NamedShape:
        """The architecture of a record. Raises `UnnamedShapeError` with the missing or wrong values."""
        given = self._given(record)
        if self.dimensions and not given:
            raise UnnamedShapeError(self._nothing(record))
        if record.architecture and not record.architecture & {*self.dimensions, *self.derived}:
            raise UnnamedShapeError(
                f"the record's architecture has {', '.join(sorted(record.architecture))}, but the model's has "
                f"{', '.join(self.dimensions) or 'no dimensions'}"
            )
        own = {name: value for name, value in given.items() if name in self.dimensions}
        others = {name: value for name, value in given.items() if name not in own}
        near = self.rows
        for name, value in own.items():
            near = [row for row in near if row[0][name] == value]
        fitting = [one for one, derived in near if all(isclose(derived[name], others[name]) for name in others)]
        if not fitting:
            contradiction = self._contradiction(near, own, others)
            raise UnnamedShapeError(contradiction or f"the model's grid does not contain {_text(given)}")
        known = self._known(own, others)
        if len(fitting) > 1:
            varying = [name for name in self.dimensions if len({one[name] for one in fitting}) > 1]
            missing = [name for name in varying if name not in known] or varying
            hint = [name for name in self.derived if name not in others and self._read[name] & {*missing}]
            text = f"missing {', '.join(missing)}: {len(fitting)} architectures have {_text(given)}"
            raise UnnamedShapeError(text + (f"; {' or '.join(hint)} would also suffice" if hint else ""))
        return NamedShape(values=fitting[0], completed=tuple(name for name in self.dimensions if name not in known))

    def count(self, record: OldRecord) -> int | None:
        """The parameter count of the record's architecture, on or off the grid; None if it is incomplete."""
        try:
            return self._family.num_parameters(self.named(record).values, self.data)
        except UnnamedShapeError:
            pass
        try:
            given = self._given(record)
            values = {name: int(given[name]) for name in self.dimensions}
            sound = values and all(0 < value == given[name] for name, value in values.items())
            agree = all(isclose(self._rules[name](values), given[name]) for name in self.derived if name in given)
            return self._family.num_parameters(values, self.data) if sound and agree else None
        except Exception:  # a family supports only its legal architectures
            return None

    def _given(self, record: OldRecord) -> dict[str, float]:
        """The record's dimensions and derived names as numbers, from any place in the record."""
        given: dict[str, float] = {}
        for name in (*self.dimensions, *self.derived):
            said = [place[name] for place in (record.values, record.attributes) if place.get(name) is not None]
            if not said:
                continue
            if not all(same(said[0], other) for other in said[1:]):
                raise UnnamedShapeError(f"contradictory values: {name} is {said[0]!r} and {said[1]!r}")
            number = as_number(said[0])
            if number is None or not abs(number) <= LARGEST:  # NaN is not
                raise UnnamedShapeError(f"{name} is {said[0]!r}, which is not a size")
            given[name] = int(number) if isinstance(number, float) and number.is_integer() else number
        return given

    def _contradiction(self, rows: Sequence[Row], own: Mapping[str, float], others: Mapping[str, float]) -> str | None:
        """Describe a derived name whose value contradicts the given dimensions."""
        for name, value in others.items():
            if rows and self._read[name] <= own.keys() and not isclose(rows[0][1][name], value):
                beside = _text({one: own[one] for one in self.dimensions if one in self._read[name]})
                return f"contradictory values: {name} is {value:g}, but {rows[0][1][name]:g} with {beside}"
        return None

    def _nothing(self, record: OldRecord) -> str:
        if record.position is not None:
            return (
                f"the architecture is only an index ({record.position!r}) into a list that the record does not contain"
            )
        return f"no architecture: none of {', '.join(self.dimensions)} is given"

    def _known(self, own: Iterable[str], others: Iterable[str]) -> set[str]:
        """The dimensions that are given, or follow from other values by a rule of the family."""
        known = {*own}
        for _ in [*others]:
            for name in others:
                if len(unread := self._read[name] - known) == 1:
                    known |= unread
        return known


class _Reader(Mapping[str, int]):
    """An architecture that records in `read` which of its dimensions a rule reads."""

    def __init__(self, values: Mapping[str, int], read: set[str]) -> None:
        self._values, self._read = values, read

    def __getitem__(self, name: str) -> int:
        self._read.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _text(given: Mapping[str, float]) -> str:
    return ",".join(f"{name}={value}" for name, value in given.items())

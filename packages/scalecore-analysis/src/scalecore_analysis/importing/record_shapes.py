"""Which architecture an old record names: by its dimensions, and by what the model family derives from them.

A budget completes nothing (guard G17): among all legal architectures, whatever their size, exactly one must have all
the values that the record gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isclose

from attrs import frozen

from scalecore.api.model import SizedFamily
from scalecore.api.space import DataShape
from scalecore_analysis.importing.readers import OldRecord, as_number, same

LARGEST = 10**9
"""What is more is no size."""
Row = tuple[Mapping[str, int], Mapping[str, float]]
"""An architecture, and what is derived from it."""


class UnnamedShapeError(Exception):
    """Why a record names no architecture of the model, in words."""


@frozen(kw_only=True)
class NamedShape:
    """The one legal architecture that a record names."""

    values: Mapping[str, int]
    completed: tuple[str, ...] = ()
    """Dimensions that the record gives in no form. The whole grid has one value for them beside the rest."""


class RecordShapes:
    """All legal architectures of a model family for a study's data, with the derived names that the family declares.

    Whatever a rule of the family raises is raised here.
    """

    def __init__(self, family: SizedFamily, data: DataShape) -> None:
        space = family.architecture_space(data)
        self.data = data
        self._family = family
        self.dimensions = tuple(space.dimensions)
        self.derived = tuple(space.derived)
        self._rules = space.derived
        self._read: dict[str, set[str]] = {name: set() for name in space.derived}
        """The dimensions that the rule of each derived name reads."""
        self.rows: list[Row] = [
            (dict(one), {name: float(rule(_Reader(one, self._read[name]))) for name, rule in space.derived.items()})
            for one in space.architectures
        ]

    def num_parameters(self, architecture: Mapping[str, int]) -> int:
        """The size of a shape."""
        return self._family.num_parameters(architecture, self.data)

    def named(self, record: OldRecord) -> NamedShape:
        """The architecture of a record. Raises `UnnamedShapeError`, which says what is missing or wrong."""
        given = self._given(record)
        if self.dimensions and not given:
            raise UnnamedShapeError(self._nothing(record))
        if record.architecture and not record.architecture & {*self.dimensions, *self.derived}:
            raise UnnamedShapeError(
                f"its architecture has {', '.join(sorted(record.architecture))}, and this model's has "
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
            raise UnnamedShapeError(contradiction or f"{_text(given)} is no architecture of the model's grid")
        known = self._known(own, others)
        if len(fitting) > 1:
            varying = [name for name in self.dimensions if len({one[name] for one in fitting}) > 1]
            missing = [name for name in varying if name not in known] or varying
            hint = [name for name in self.derived if name not in others and self._read[name] & {*missing}]
            text = f"it has no {', '.join(missing)}, and {len(fitting)} architectures have {_text(given)}"
            raise UnnamedShapeError(text + (f" ({' or '.join(hint)} would do as well)" if hint else ""))
        return NamedShape(values=fitting[0], completed=tuple(name for name in self.dimensions if name not in known))

    def count(self, record: OldRecord) -> int | None:
        """The parameters of the record's architecture, on the grid or off it; None where it names no whole one."""
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
        except Exception:  # a family promises rules and counts for its legal architectures only
            return None

    def _given(self, record: OldRecord) -> dict[str, float]:
        """The dimensions and derived names that a record has, wherever it has them, as numbers."""
        given: dict[str, float] = {}
        for name in (*self.dimensions, *self.derived):
            said = [place[name] for place in (record.values, record.attributes) if place.get(name) is not None]
            if not said:
                continue
            if not all(same(said[0], other) for other in said[1:]):
                raise UnnamedShapeError(f"it contradicts itself: {name} is {said[0]!r} and {said[1]!r}")
            number = as_number(said[0])
            if number is None or not abs(number) <= LARGEST:  # NaN is not
                raise UnnamedShapeError(f"its {name} is {said[0]!r}, which is not a size")
            given[name] = int(number) if isinstance(number, float) and number.is_integer() else number
        return given

    def _contradiction(self, rows: Sequence[Row], own: Mapping[str, float], others: Mapping[str, float]) -> str | None:
        """A derived name whose value is not that of the dimensions given with it."""
        for name, value in others.items():
            if rows and self._read[name] <= own.keys() and not isclose(rows[0][1][name], value):
                beside = _text({one: own[one] for one in self.dimensions if one in self._read[name]})
                return f"it contradicts itself: {name} is {value:g}, and {rows[0][1][name]:g} with {beside}"
        return None

    def _nothing(self, record: OldRecord) -> str:
        if record.position is not None:
            return (
                f"it names its architecture by the position {record.position!r}, which says nothing without the list "
                "that it points into [G21]"
            )
        return f"it names no architecture: none of {', '.join(self.dimensions)} is in it"

    def _known(self, own: Iterable[str], others: Iterable[str]) -> set[str]:
        """The dimensions that are given, or follow from others by a rule of the family."""
        known = {*own}
        for _ in [*others]:
            for name in others:
                if len(unread := self._read[name] - known) == 1:
                    known |= unread
        return known


class _Reader(Mapping[str, int]):
    """An architecture that notes in `read` which of its dimensions a rule reads, in whatever way."""

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

"""Groups of studies with comparable results: a verdict is about the budgets of one group.

Studies are in one group if they have the same data, features, target, split, model family and objective. Losses of
different groups are never averaged, ranked or fitted together (guard G07).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import PurePath

import attrs
from attrs import frozen

from scalecore.api.engine import FREE, by_name
from scalecore.api.errors import RefusedError
from scalecore.api.trials import StudyView
from scalecore_analysis.comparable import identity_of
from scalecore_analysis.studies import labelled

__all__ = [
    "Group",
    "Settings",
    "budget_groups",
    "comparable_groups",
    "differing_settings",
    "grid_settings",
    "is_place",
    "setting_text",
    "settings_of",
]

LONGEST = 30
"""Maximum number of characters of a value in a label."""
NOT_SEPARATING = {"training": set(FREE["training"]), "search": {*FREE["search"], "budget"}}
"""Settings that do not separate studies of one budget: they affect no result, or only how long the search is."""
ALWAYS = ("target.kind", "target.horizon", "target.threshold", "target.price", "model.use", "objective.metric")
"""Settings that a label contains if they differ, even if others distinguish the groups already."""

Settings = Mapping[str, object]


@frozen(kw_only=True, eq=False)
class Group:
    """Studies with comparable results, the smallest budget first."""

    label: str
    """What differs from the other groups, such as `horizon 3, tier a60`; unique, and empty if there is one group."""
    studies: tuple[StudyView, ...]

    @property
    def head(self) -> dict[str, str]:
        """The cell of the column `group` in a table; no column if there is one group."""
        return {"group": self.label} if self.label else {}

    def titled(self, text: str) -> str:
        """The text with the label in front, if there are several groups."""
        return f"{self.label}: {text}" if self.label else text


def comparable_groups(studies: Sequence[StudyView], *, allow: Collection[str] = ()) -> list[Group]:
    """Group the studies by what makes their results comparable, in the order of the first study of each group.

    `allow` contains names of `comparable.identity_of` in which the studies of a group may differ. Several studies of a
    group may have the same budget.
    """
    return _labelled(_parts(studies, key=lambda study: _identity(study, allow)))


def budget_groups(studies: Sequence[StudyView], *, allow: Collection[str] = ()) -> list[Group]:
    """Group the studies as `comparable_groups`, with one study per budget in each group.

    Comparable studies of one budget are in different groups, by the settings in which they differ, for example strategy
    or seed. Raises `RefusedError` if they do not differ.
    """
    found = []
    for part in _parts(studies, key=lambda study: _identity(study, allow)):
        found += _one_per_budget(part)
    return _labelled(found)


def labelled_groups(groups: Sequence[Group]) -> dict[str, tuple[StudyView, Group]]:
    """All studies with their groups, by unique names, group by group."""
    group_of = {id(study): group for group in groups for study in group.studies}
    labels = labelled([study for group in groups for study in group.studies])
    return {name: (study, group_of[id(study)]) for name, study in labels.items()}


def differing_settings(studies: Sequence[StudyView]) -> list[str]:
    """The settings of model, training and search, by dotted key, in which studies of one group differ.

    Without the options that only decide which shapes exist: these follow from the budget.
    """
    if not studies:
        return []
    settings = [settings_of(study) for study in studies]
    names = [name for name in dict.fromkeys(key for one in settings for key in one) if _is_choice(name)]
    shapes = {name for study in studies for name in grid_settings(study)}
    return [name for name in names if name not in shapes and len({repr(one.get(name)) for one in settings}) > 1]


def _identity(study: StudyView, allow: Collection[str]) -> Hashable:
    known = {name: value for name, value in identity_of(study).items() if name not in allow}
    if {"features", "target", "split"} & set(allow):
        known.pop("values", None)  # the fingerprint of the data covers these too
    return tuple(known.items()), by_name("model", study.experiment["model"])["use"]


def _parts(studies: Iterable[StudyView], *, key: Callable[[StudyView], Hashable]) -> list[list[StudyView]]:
    parts: dict[Hashable, list[StudyView]] = {}
    for study in studies:
        parts.setdefault(key(study), []).append(study)
    return list(parts.values())


def _one_per_budget(part: Sequence[StudyView]) -> list[list[StudyView]]:
    """Separate studies with the same budget by all settings in which two such studies differ."""
    settings = {id(study): settings_of(study) for study in part}
    separating: dict[str, None] = {}
    for first, second in _same_budget(part):
        ours, other = settings[id(first)], settings[id(second)]
        names = [name for name in {**ours, **other} if _is_choice(name) and ours.get(name) != other.get(name)]
        if not names:
            raise RefusedError(
                f"two studies have the same budget and the same settings, so their runs cannot be separated as one "
                f"study per budget: {first.folder} and {second.folder}; name one of them"
            )
        separating |= dict.fromkeys(names)
    found = _parts(part, key=lambda study: tuple(repr(settings[id(study)].get(name)) for name in separating))
    return [sorted(one, key=_size) for one in found]


def _same_budget(part: Sequence[StudyView]) -> Iterator[tuple[StudyView, StudyView]]:
    for first, second in combinations(part, 2):
        if _budget(first) == _budget(second):
            yield first, second


def _budget(study: StudyView) -> Hashable:
    """The budget in parameters; without one, the sizes of the grid."""
    grid = study.plan.architectures
    if study.experiment["search"].get("budget") is None:
        return tuple(sorted({one.num_parameters for one in grid.architectures}))
    return study.budget if grid.budget is None else (study.budget, grid.budget)


def _size(study: StudyView) -> float:
    grid = study.plan.architectures
    smallest = min((one.num_parameters for one in grid.architectures), default=0)
    return grid.low if grid.low is not None else smallest


# --- settings and labels --------------------------------------------------------------------------------------------


def settings_of(study: StudyView) -> Settings:
    """What may distinguish two studies, by dotted key, the most telling first.

    Components are named without their package. Target and split are those of the plan, with what `auto` stands for.
    """
    experiment, data = study.experiment, study.plan.data
    target = {key: value for key, value in attrs.asdict(data.target).items() if key not in ("hash", "text", "given")}
    kept = {
        section: {key: value for key, value in by_name(kind, experiment.get(section) or {}).items() if key not in free}
        for section, kind, free in (
            ("dataset", "dataset", {"target", "split"}),
            ("model", "model", set[str]()),
            ("search", "search", NOT_SEPARATING["search"]),
            ("training", "trainer", NOT_SEPARATING["training"]),
        )
    }
    found: dict[str, object] = {}
    for section, values in (
        ("target", target),
        ("dataset", kept["dataset"]),
        ("model", kept["model"]),
        ("objective", experiment["objective"]),
        ("split", {"purge": data.split.purge, "embargo": data.split.embargo, **data.split.options}),
        ("search", kept["search"]),
        ("training", kept["training"]),
        ("seed", experiment.get("seed")),
    ):
        found.update(_leaves(section, values))
    return found


def _is_choice(name: str) -> bool:
    """Whether studies of one group may differ in this setting."""
    return name.split(".")[0] in ("model", "search", "training", "seed")


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _leaves(f"{path}.{key}", one)
    else:
        yield path, value


def grid_settings(study: StudyView) -> set[str]:
    """The options of the model that hold values of its dimensions, or are lists of numbers, by dotted key."""
    model = study.experiment["model"]
    names = {*study.plan.architectures.dimensions, *(key for key, value in model.items() if isinstance(value, list))}
    return {f"model.{name}" for name in names}


def _labelled(parts: Sequence[Sequence[StudyView]]) -> list[Group]:
    if len(parts) < 2:
        return [Group(label="", studies=tuple(part)) for part in parts]
    settings = [[settings_of(study) for study in part] for part in parts]
    common: list[Settings] = [
        {name: value for name, value in own[0].items() if all(name in one and one[name] == value for one in own)}
        for own in settings
    ]
    names = [name for name in dict.fromkeys(key for one in common for key in one) if _differs(name, common)]
    chosen = _telling(names, common)
    labels = [_text(chosen, one) for one in common]
    for index, part in enumerate(parts):
        if labels.count(labels[index]) > 1 or not labels[index]:
            fingerprint = f"data {part[0].plan.data.fingerprint[:8]}"
            labels[index] = f"{labels[index]}, {fingerprint}" if labels[index] else fingerprint
    labels = [f"{label} ({index + 1})" if labels.count(label) > 1 else label for index, label in enumerate(labels)]
    return [Group(label=label, studies=tuple(part)) for label, part in zip(labels, parts, strict=True)]


def _differs(name: str, common: Sequence[Settings]) -> bool:
    return len({setting_text(one[name]) if name in one else None for one in common}) > 1


def _telling(names: Sequence[str], common: Sequence[Settings]) -> list[str]:
    """The settings of the label: those of `ALWAYS`, and options of the dataset, then what is needed to distinguish."""

    def classes(chosen: Sequence[str]) -> int:
        return len({tuple(repr(one.get(name)) for name in chosen) for one in common})

    def always(name: str) -> bool:
        values = [one.get(name) for one in common]
        if any(value is None or is_place(value) for value in values):
            return False
        return name in ALWAYS or (name.startswith("dataset.") and not any(isinstance(one, list) for one in values))

    chosen = [name for name in names if always(name)]
    for name in names:
        if name not in chosen and classes([*chosen, name]) > classes(chosen):
            chosen.append(name)
    return chosen


def _text(chosen: Sequence[str], settings: Settings) -> str:
    """For example `horizon 3, tier a60`."""
    return ", ".join(f"{_name(name, chosen)} {setting_text(settings[name])}" for name in chosen if name in settings)


def _name(path: str, others: Sequence[str]) -> str:
    """The last part of a dotted key, or more if two keys end alike; a component by its section."""
    section, _, rest = path.partition(".")
    if rest == "use":
        return {"search": "strategy"}.get(section, section)
    parts = path.split(".")
    for count in range(1, len(parts)):
        if sum(other.split(".")[-count:] == parts[-count:] for other in others) == 1:
            return " ".join(parts[-count:])
    return " ".join(parts)


def setting_text(value: object) -> str:
    """A value of `settings_of`, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        text = " ".join(map(setting_text, value))
        return text if len(text) <= LONGEST else f"({len(value)}) {text[:LONGEST]}..."
    if value is None:
        return "none"
    text = PurePath(str(value)).name if is_place(value) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def is_place(value: object) -> bool:
    """Whether the value of a setting is the path of a file."""
    return isinstance(value, str) and (os.sep in value or "/" in value)

"""What distinguishes two studies, by aspect: features, model, search, context and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from attrs import frozen

from scalecore.api.trials import StudyView
from scalecore_analysis.groups import Settings, grid_settings, is_place, setting_text, settings_of
from scalecore_analysis.studies import labelled

__all__ = ["ASPECTS", "HARD", "Aspect", "Profile", "contrast", "profiles", "value_text"]

Aspect = Literal[
    "features", "model", "search", "context", "normalise", "data", "training", "split", "values", "budget", "seed"
]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
HARD = ("target", "metric")
"""Aspects that must be equal unless an option allows the difference (guard G07)."""
UNUSED = ("training.device", "training.launches")
"""Settings that change results by rounding only."""
SHARED = ("search.trials", "dataset.context", "dataset.normalise")
"""Settings of all components of a kind; other options of two components cannot be compared."""
OF_FEATURES = ("tier", "features", "vix", "vix_missing", "extensions")
"""Options of datasets that choose features: the features themselves are compared."""
MANY = ("model", "search", "data", "training", "split", "metric")
"""Aspects of several settings."""
LISTED = 3
"""Maximum number of settings in a phrase."""


@frozen(kw_only=True, eq=False)
class Profile:
    """A study with its settings by dotted key."""

    label: str
    study: StudyView
    settings: Settings
    fixed: bool
    """One trial: a fixed configuration, not a search. Its value selected nothing, so it is not optimistic."""

    @property
    def family(self) -> str:
        return str(self.settings["model.use"])

    @property
    def features(self) -> int:
        """The number of features."""
        return len(self.study.plan.data.features)

    @property
    def tier(self) -> str | None:
        tier = self.settings.get("dataset.tier")
        return tier if isinstance(tier, str) else None

    @property
    def values(self) -> tuple[str | None, ...]:
        """The names of its values, by which it can be chosen as a reference."""
        known = (self.tier, self.family, str(self.settings["search.use"]), self.study.budget)
        return (*known, "fixed") if self.fixed else known

    def differences(self, other: Profile) -> dict[str, list[str]]:
        """The aspects in which two studies differ, with the dotted keys of the settings."""
        ours, theirs = self.settings, other.settings
        found: dict[str, list[str]] = {}
        for name in dict.fromkeys([*ours, *theirs]):
            if ours.get(name) == theirs.get(name):
                continue
            section, _, key = name.partition(".")
            other_component = ours.get(f"{section}.use") != theirs.get(f"{section}.use")
            if other_component and key != "use" and name not in SHARED:
                continue
            if (aspect := self._aspect(other, name)) is not None:
                found.setdefault(aspect, []).append(name)
        if self.fixed != other.fixed:
            found.pop("budget", None)  # a fixed configuration has the size that it has
        covered = {"features", "context", "normalise", "data", "split", "target"}
        if not covered & found.keys() and self.study.plan.data.fingerprint != other.study.plan.data.fingerprint:
            found["values"] = ["data.fingerprint"]
        order = (*HARD, *ASPECTS)
        return dict(sorted(found.items(), key=lambda one: order.index(one[0])))

    def _aspect(self, other: Profile, name: str) -> str | None:
        section, *keys = name.split(".")
        match section:
            case "dataset":
                if keys[0] in OF_FEATURES:
                    return None
                return keys[0] if keys[0] in ("context", "normalise") else "data"
            case "model":
                return "search" if name in grid_settings(self.study) | grid_settings(other.study) else "model"
            case "training":
                return "search" if keys[0] == "hyperparameters" else "training"
            case "objective":
                return "metric"
        return section


def profiles(studies: Sequence[StudyView]) -> list[Profile]:
    """The studies with their settings."""
    return [
        Profile(label=label, study=study, settings=_settings(study), fixed=study.total == 1)
        for label, study in labelled(studies).items()
    ]


def contrast(profile: Profile, reference: Profile) -> str:
    """Describe what differs: `tier a100 against a25 (113 against 33 features); context 60 against 20`."""
    found = profile.differences(reference)
    return "; ".join(_phrase(profile, reference, aspect, found[aspect]) for aspect in found) or "equal settings"


def value_text(profile: Profile, aspect: str, names: Sequence[str]) -> str:
    """One study's side of an aspect, such as `tier a100`, `patchtst` or `budget 20k`; `names` are its settings."""
    study, shown = profile.study, list(names)
    match aspect:
        case "target" if "target.horizon" in names:
            shown = [name for name in names if name != "target.rule"]  # the rule follows from the horizon
        case "features":
            return f"tier {profile.tier}" if profile.tier else f"{profile.features} features"
        case "model" if "model.use" in names:
            return f"model {profile.family}"
        case "search" if profile.fixed:
            return "the fixed configuration"
        case "search":
            return f"search ({profile.settings['search.use']}, {study.total} trials)"
        case "budget":
            return f"budget {study.budget}"
        case "values":
            return f"data {study.plan.data.fingerprint[:8]}"
    return ", ".join(f"{_short(name)} {setting_text(profile.settings.get(name))}" for name in shown[:LISTED])


def _phrase(profile: Profile, reference: Profile, aspect: str, names: Sequence[str]) -> str:
    if aspect == "features":
        counts = f"{profile.features} against {reference.features} features"
        if profile.tier and reference.tier and profile.tier != reference.tier:
            return f"tier {profile.tier} against {reference.tier} ({counts})"
        return counts if profile.features != reference.features else f"other features ({profile.features} each)"
    ours, theirs = value_text(profile, aspect, names), value_text(reference, aspect, names)
    if ours != theirs and (aspect not in MANY or len(names) == 1 or aspect == "search" or "model.use" in names):
        word, _, rest = theirs.partition(" ")
        return f"{ours} against {rest if ours.startswith(f'{word} ') and aspect != 'search' else theirs}"
    sides = [[setting_text(each.settings.get(name)) for each in (profile, reference)] for name in names[:LISTED]]
    shown = [f"{_short(name)} {' against '.join(both)}" for name, both in zip(names, sides, strict=False)]
    more = f" and {len(names) - LISTED} more settings" if len(names) > LISTED else ""
    return ", ".join(shown) + more


def _short(name: str) -> str:
    """A dotted key without its section."""
    return name.partition(".")[2] or name


def _settings(study: StudyView) -> Settings:
    """The settings that may affect results; files are compared by the fingerprint of the data, not by their paths."""
    known = {name: value for name, value in settings_of(study).items() if name not in UNUSED and not is_place(value)}
    return {
        **{name: value for name, value in known.items() if value != {}},
        "features": tuple(study.plan.data.features),
        "search.trials": study.total,
        "budget": study.budget,
    }

"""The identity of a trial: a content hash of everything that decides its result, and the seed derived from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import attrs
from attrs import field, frozen

from scalecore.api.dataset_options import ReadOptions
from scalecore.api.files import content_hash
from scalecore.config.experiment import DEFAULT_TRAINER, ComponentRef
from scalecore.config.experiment_json import plain_value, training_plain
from scalecore.plugins.discovery import CORE
from scalecore.plugins.registry import known_provider

if TYPE_CHECKING:
    from scalecore.config.resolved import Resolved

FREE = {
    "": ("description", "output", "plugins", "monitors", "loggers", "execution", "confirm", "analyses"),
    "search": ("trials",),
    "training": (
        "threads",
        "checkpoint_every",
        "checkpoint_epochs",
        "keep_weights",
        "micro_batch",
        "activation_checkpointing",
        "memory_gb",
    ),
}
"""Keys of the experiment file that do not affect results and may change when a study is resumed."""

KeyPath = tuple[str, ...]


@frozen(kw_only=True)
class Unbound:
    """Settings that identities leave out, by their path in the resolved experiment; `*` is any index of a list."""

    places: frozenset[KeyPath] = frozenset()
    """Paths of files, and the file format options of the dataset. Identities contain the content of the files instead,
    if it affects results (guard G28).
    """
    added: Mapping[KeyPath, Any] = field(factory=dict)
    """Options that older studies lack, with the value that matches the earlier behaviour (`option(before=...)`)."""

    def strip(self, value: Any, path: KeyPath = ()) -> Any:
        """Return `value`, found at `path` of an experiment, without these settings."""
        if isinstance(value, Mapping):
            return {
                key: self.strip(one, (*path, key))
                for key, one in value.items()
                if not self._is_unbound((*path, key), one)
            }
        if isinstance(value, list):
            return [self.strip(one, (*path, "*")) for one in value]
        return value

    def _is_unbound(self, path: KeyPath, value: Any) -> bool:
        return path in self.places or (path in self.added and value == self.added[path])


def unbound(resolved: Resolved) -> Unbound:
    """Collect the settings that the option classes of a resolved experiment exclude from identities."""
    places: set[KeyPath] = set()
    added: dict[KeyPath, Any] = {}
    _walk(resolved.experiment, (), places, added)
    for section, component in (
        ("dataset", resolved.dataset),
        ("model", resolved.model),
        ("search", resolved.search),
        ("training", resolved.trainer),
    ):
        _walk(component.options, (section,), places, added)
    # Data have a fingerprint, and the search may change. Files of a model affect results: see `model_content`.
    return Unbound(places=frozenset(path for path in places if path[0] != "model"), added=added)


def model_content(resolved: Resolved) -> dict[str, Any]:
    """The section `model` as identities contain it: files in options are identified by content, not by path."""
    return {"use": resolved.model.use, **plain_value(resolved.model.options, place=_content)}


def training_content(resolved: Resolved) -> dict[str, Any]:
    """The section `training` as identities contain it: files in options are identified by the checked content."""
    digests = {one.file: one.sha256 for one in resolved.training.code()}
    return training_plain(resolved, place=lambda file: {"sha256": digests.get(Path(file))})


def _content(path: PurePath) -> dict[str, Any]:
    """SHA-256 of a file, or of the names and contents in a folder; None if the path does not exist."""
    place = Path(path)
    if not place.is_dir():
        return {"sha256": _checksum(place) if place.is_file() else None}
    files = sorted(one for one in place.rglob("*") if one.is_file())
    return {"sha256": content_hash({one.relative_to(place).as_posix(): _checksum(one) for one in files})}


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _walk(value: Any, path: KeyPath, places: set[KeyPath], added: dict[KeyPath, Any]) -> None:
    if isinstance(value, list | tuple):
        for one in value:
            _walk(one, (*path, "*"), places, added)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _walk(one, (*path, str(key)), places, added)
    if not attrs.has(type(value)) or isinstance(value, ComponentRef):
        return
    hints = get_type_hints(type(value))
    for one in attrs.fields(type(value)):
        where = (*path, one.name)
        if "before" in one.metadata:
            added[where] = plain_value(one.metadata["before"])
        if _holds_place(hints.get(one.name)):
            places.add(where)
        _walk(getattr(value, one.name), where, places, added)


def _holds_place(kind: Any) -> bool:
    """Whether an option of this type is or contains a path or file format options."""
    if isinstance(kind, type) and issubclass(kind, PurePath | ReadOptions):
        return True
    return any(_holds_place(one) for one in get_args(kind))


def binding(experiment: Mapping[str, Any], unbound: Unbound) -> dict[str, Any]:
    """Return the part of a resolved experiment that must not change within a study."""
    bound: dict[str, Any] = unbound.strip({key: value for key, value in experiment.items() if key not in FREE[""]})
    for section in ("search", "training"):
        bound[section] = {key: value for key, value in bound[section].items() if key not in FREE[section]}
    bound |= {kind: by_name(kind, bound[kind]) for kind in ("dataset", "model", "search") if kind in bound}
    training = by_name("trainer", bound["training"])
    if training.get("use") == DEFAULT_TRAINER:  # older studies do not name it: it was the only trainer
        del training["use"]
    return {**bound, "training": training}


def by_name(kind: str, component: Mapping[str, Any]) -> dict[str, Any]:
    """Name a component of scalecore's own packages without its package: `scalecore/random` and `random` are equal."""
    distribution, _, name = str(component.get("use", "")).rpartition("/")
    # A component that is now in a package may have been part of scalecore itself.
    own = distribution != "" and distribution in (CORE, known_provider(kind, name))
    return {**component, "use": name} if own else dict(component)


def trial_content(
    experiment: Mapping[str, Any],
    *,
    unbound: Unbound,
    data: str,
    architecture: Mapping[str, int],
    hyperparameters: Mapping[str, Any],
    replicate: int = 0,
) -> dict[str, Any]:
    """Return everything that decides a trial's result, except its seed.

    `data` is the fingerprint of data, target, split and normalisation.
    """
    bound = binding(experiment, unbound)
    training = {key: value for key, value in bound["training"].items() if key != "hyperparameters"}
    return {
        "data": data,
        "model": bound["model"],
        "objective": bound["objective"],
        "training": training,
        "architecture": dict(architecture),
        "hyperparameters": dict(hyperparameters),
        "replicate": replicate,
    }


def trial_seed(content: Mapping[str, Any], *, study_seed: int, data: str | None = None) -> int:
    """Derive the seed of a trial from the study's seed and the trial's content, so that equal configurations are equal
    trials.

    A replicate differs in its content, so it has another seed; different configurations get independent seeds. `data`
    replaces the fingerprint of the data if it is set (`DataReport.seed_data`).
    """
    seeding = content if data is None else {**content, "data": data}
    return int(content_hash([study_seed, seeding])[:12], 16)


def trial_hash(content: Mapping[str, Any], *, seed: int) -> str:
    """Return the identity of a trial (guard G30)."""
    return content_hash([content, seed])

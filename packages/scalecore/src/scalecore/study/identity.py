"""What a trial is: the content hash of everything that decides its result, and the seed that follows from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from scalecore.files import canonical_json

__all__ = ["binding", "content_hash", "trial_content", "trial_hash", "trial_seed"]

FREE = {
    "": ("output", "monitors", "loggers", "execution", "analyses"),
    "search": ("trials",),
    "training": (
        "threads",
        "checkpoint_every",
        "checkpoint_epochs",
        "keep_weights",
        "micro_batch",
        "activation_checkpointing",
    ),
}
"""Keys of the experiment file that do not decide what a trial's result is, and may change when a study is resumed."""

ADDED = {"training": {"loss": None, "precision": "fp32", "compile": "off"}}
"""Keys that older studies lack, with the value that says what was done before: it is left out of every identity, so
that those studies go on and their trials keep their hashes."""


def content_hash(content: Any) -> str:
    """SHA-256 of the canonical JSON of `content`, in hexadecimal digits."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def binding(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved experiment that may not change within a study."""
    bound = {key: value for key, value in experiment.items() if key not in FREE[""]}
    for section in ("search", "training"):
        bound[section] = {key: value for key, value in _since(section, bound[section]) if key not in FREE[section]}
    return bound


def _since(section: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings without those of `ADDED` that say what was done before they came."""
    added = ADDED.get(section, {})
    return ((key, value) for key, value in settings.items() if key not in added or value != added[key])


def trial_content(
    experiment: Mapping[str, Any],
    *,
    data: str,
    architecture: Mapping[str, int],
    hyperparameters: Mapping[str, Any],
    replicate: int = 0,
) -> dict[str, Any]:
    """Everything that decides a trial's result but its seed.

    `data` is the fingerprint of data, target, split and normalisation.
    """
    training = {
        key: value
        for key, value in _since("training", experiment["training"])
        if key not in (*FREE["training"], "hyperparameters")
    }
    return {
        "data": data,
        "model": experiment["model"],
        "objective": experiment["objective"],
        "training": training,
        "architecture": dict(architecture),
        "hyperparameters": dict(hyperparameters),
        "replicate": replicate,
    }


def trial_seed(content: Mapping[str, Any], *, study_seed: int) -> int:
    """The seed of a trial: from the study's seed and the trial's content, so that the same configuration is the same
    trial.

    A replicate differs in its content and so has another seed; different configurations get independent ones.
    """
    return int(content_hash([study_seed, content])[:12], 16)


def trial_hash(content: Mapping[str, Any], *, seed: int) -> str:
    """The identity of a trial (guard G30)."""
    return content_hash([content, seed])

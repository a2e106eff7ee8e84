"""Optuna samplers that the strategy can use as inner sampler, by name or by the import path of a class."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from scalecore.api.errors import ExperimentError

__all__ = ["inner_sampler"]


def inner_sampler(name: str, *, options: Mapping[str, Any], seed: int) -> BaseSampler:
    """Create the sampler `tpe`, `gp`, `random`, or the class at `package.module:Class`, with this seed.

    A class must be a subclass of `optuna.samplers.BaseSampler` that accepts a `seed`. Raises `ExperimentError` for any
    other object, for `gp` without torch, and for options that the class rejects.
    """
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "gp" and find_spec("torch") is None:
        raise ExperimentError(
            "search.inner: 'gp' is Optuna's GPSampler, which needs torch, and torch is not installed; "
            "install it, or use 'frontier', which does not need torch"
        )
    # The strategy has its own startup phase, so the samplers need none.
    defaults = {"n_startup_trials": 1} if name in ("tpe", "gp") else {}
    kinds: dict[str, type[BaseSampler]] = {"tpe": TPESampler, "gp": GPSampler}
    kind = kinds[name] if name in kinds else _imported(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return kind(**{**defaults, **options, "seed": seed})
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"search.inner_options: {kind.__name__} rejects them: {error}") from error


def _imported(path: str) -> type[BaseSampler]:
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ExperimentError(
            f"search.inner: {module_name!r} cannot be imported: {error}; install the package that provides it"
        ) from error
    kind = getattr(module, name, None)
    if kind is None:
        raise ExperimentError(f"search.inner: module {module_name!r} has no {name!r}")
    if not (inspect.isclass(kind) and issubclass(kind, BaseSampler)):
        raise ExperimentError(f"search.inner: {path!r} is not a subclass of optuna.samplers.BaseSampler")
    if inspect.isabstract(kind):
        raise ExperimentError(f"search.inner: {path!r} is an abstract class")
    if "seed" not in inspect.signature(kind).parameters:
        raise ExperimentError(
            f"search.inner: {path!r} has no argument `seed`, which repeating or resuming a study requires"
        )
    return kind

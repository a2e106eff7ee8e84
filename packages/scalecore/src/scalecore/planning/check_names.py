"""Check the names in an experiment file quickly, without data and without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalecore.api.errors import ExperimentError
from scalecore.api.space import DataShape, Hyperparameter
from scalecore.api.trainer import SupportsFurtherHyperparameters
from scalecore.config.instantiate import create, of_plugin
from scalecore.config.load import LoadedExperiment
from scalecore.config.messages import Problem
from scalecore.config.missing_trainer import MissingTrainer
from scalecore.config.resolved import Resolved
from scalecore.planning.feasible import predicate_problems

if TYPE_CHECKING:
    from scalecore.api.model import ModelFamily


def family_of(resolved: Resolved) -> tuple[ModelFamily, dict[str, Hyperparameter]]:
    """Create the model family; return it with the hyper-parameters that the trainer and the family declare."""
    family: ModelFamily = create("model", resolved.model)
    with of_plugin("model", resolved.model, "cannot list its hyper-parameters"):
        known = declared(resolved.training.hyperparameters(), family.hyperparameters())
    return family, known | _further(resolved, known)


def _further(resolved: Resolved, known: Mapping[str, Hyperparameter]) -> dict[str, Hyperparameter]:
    """Return the hyper-parameters of the experiment that the trainer recognises only when it sees their names."""
    if not isinstance(resolved.training, SupportsFurtherHyperparameters):
        return {}
    experiment = resolved.experiment
    given: dict[str, Sequence[Any]] = {name: [one] for name, one in experiment.training.hyperparameters.items()}
    given |= {name: one.bounds() for name, one in experiment.search.space.items()}
    further = {name: values for name, values in given.items() if name not in known}
    return {one.name: one for one in resolved.training.further_hyperparameters(further)}


def declared(training: Sequence[Hyperparameter], model: Sequence[Hyperparameter]) -> dict[str, Hyperparameter]:
    """Return all hyper-parameters by name, the trainer's and the model family's. A clash is a bug of the family."""
    names = {parameter.name: parameter for parameter in training}
    for parameter in model:
        if parameter.name in names:
            raise ValueError(f"the model family declares {parameter.name!r}, which the trainer already declares")
        names[parameter.name] = parameter
    return names


def refuse_missing_trainer(loaded: LoadedExperiment, resolved: Resolved) -> None:
    """Raise a `PluginError` with installation advice if the trainer's package is missing."""
    if isinstance(resolved.training, MissingTrainer):
        loaded.fail([loaded.problem(("training",), resolved.training.message, kind="plugin")])


def name_problems(loaded: LoadedExperiment, resolved: Resolved) -> Iterator[Problem]:
    """Yield unknown hyper-parameters, and conditions that are invalid or exclude every shape.

    Needs no data: the model family gets a data shape with the dataset's context. Checks that need more, and errors of
    the family itself, are left to the plan.
    """
    try:
        family, parameters = family_of(resolved)
    except ExperimentError as error:
        yield from loaded.problems_of(error, section="model")
        return
    except Exception:
        return
    yield from hyperparameter_problems(loaded, resolved, parameters)
    context = getattr(resolved.dataset.options, "context", None)
    try:
        space = family.architecture_space(DataShape(context=context or 60, features=5, outputs=1))
    except Exception as error:
        if context is not None and isinstance(error, ExperimentError):
            yield from loaded.problems_of(error, section="model")
        return
    for problem in predicate_problems(space, resolved.experiment.search.exclude):
        yield loaded.problem(problem.path, str(problem))
    if (find := getattr(resolved.search.record, "problems", None)) is not None:
        for text in find(resolved.search.options, resolved.experiment.search.space, space):
            yield from loaded.problems_of(ExperimentError(text), section="search")


def hyperparameter_problems(
    loaded: LoadedExperiment, resolved: Resolved, parameters: Mapping[str, Hyperparameter]
) -> Iterator[Problem]:
    """Check names and ranges of `search.space` and `training.hyperparameters` against the declarations."""
    if isinstance(resolved.training, MissingTrainer):
        return  # its hyper-parameters are unknown
    known = ", ".join(sorted(parameters))
    settings = {
        **{("search", "space", name): list(d.bounds()) for name, d in resolved.experiment.search.space.items()},
        **{
            ("training", "hyperparameters", name): [v]
            for name, v in resolved.experiment.training.hyperparameters.items()
        },
    }
    for path, values in settings.items():
        name = path[-1]
        if name not in parameters:
            yield loaded.problem(
                path,
                f"unknown hyper-parameter {name!r}; the trainer and model {resolved.model.record.name!r} read {known}",
            )
            continue
        complaints = (parameters[name].problem(value) for value in values)
        if complaint := next((text for text in complaints if text), None):
            yield loaded.problem(path, complaint)
        if path[0] == "training" and name in resolved.experiment.search.space:
            yield loaded.problem(path, "is also varied by search.space; set it in one place")

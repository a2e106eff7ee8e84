"""What an experiment file is wrong about by its names alone: without data, without torch, in a moment."""

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
    """The model family, and the hyper-parameters that the training core and the family read."""
    family: ModelFamily = create("model", resolved.model)
    with of_plugin("model", resolved.model, "cannot tell its hyper-parameters"):
        known = declared(resolved.training.hyperparameters(), family.hyperparameters())
    return family, known | _further(resolved, known)


def _further(resolved: Resolved, known: Mapping[str, Hyperparameter]) -> dict[str, Hyperparameter]:
    """What the experiment names and a trainer reads that cannot say so before."""
    if not isinstance(resolved.training, SupportsFurtherHyperparameters):
        return {}
    experiment = resolved.experiment
    given: dict[str, Sequence[Any]] = {name: [one] for name, one in experiment.training.hyperparameters.items()}
    given |= {name: one.bounds() for name, one in experiment.search.space.items()}
    further = {name: values for name, values in given.items() if name not in known}
    return {one.name: one for one in resolved.training.further_hyperparameters(further)}


def declared(training: Sequence[Hyperparameter], model: Sequence[Hyperparameter]) -> dict[str, Hyperparameter]:
    """All hyper-parameters by name: the trainer's and those of the model family. A clash is the family's bug."""
    names = {parameter.name: parameter for parameter in training}
    for parameter in model:
        if parameter.name in names:
            raise ValueError(f"the model family declares {parameter.name!r}, which the training core has already")
        names[parameter.name] = parameter
    return names


def refuse_missing_trainer(loaded: LoadedExperiment, resolved: Resolved) -> None:
    """Raise the `PluginError` that says what to install where the trainer is not there."""
    if isinstance(resolved.training, MissingTrainer):
        loaded.fail([loaded.problem(("training",), resolved.training.message, kind="plugin")])


def name_problems(loaded: LoadedExperiment, resolved: Resolved) -> Iterator[Problem]:
    """Hyper-parameters that nobody reads, and conditions that are none or leave no shape, as far as that needs no data.

    The model family is asked, with windows of the dataset's length. What it cannot tell so, and what is wrong with the
    family itself, is left to the plan.
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


def hyperparameter_problems(
    loaded: LoadedExperiment, resolved: Resolved, parameters: Mapping[str, Hyperparameter]
) -> Iterator[Problem]:
    """Names and ranges of `search.space` and `training.hyperparameters` against what is declared."""
    if isinstance(resolved.training, MissingTrainer):
        return  # nobody knows what it reads
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
                f"neither the training core nor model {resolved.model.record.name!r} reads a hyper-parameter "
                f"{name!r}; they read {known}",
            )
            continue
        complaints = (parameters[name].problem(value) for value in values)
        if complaint := next((text for text in complaints if text), None):
            yield loaded.problem(path, complaint)
        if path[0] == "training" and name in resolved.experiment.search.space:
            yield loaded.problem(path, "is varied by search.space too; give it in one place")

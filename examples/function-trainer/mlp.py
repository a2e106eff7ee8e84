"""The model `sklearn-mlp`: networks of one or two hidden layers, built by scikit-learn.

Their sizes are known in closed form, which a study needs before anything is built: they decide
what fits the budget, and are compared with what was built.
"""

from itertools import pairwise

from attrs import frozen

from scalecore import hookimpl
from scalecore.api.components import ModelRecord
from scalecore.api.options import option
from scalecore.api.space import ArchitectureSpace, Hyperparameter


@frozen(kw_only=True)
class MlpOptions:
    """What may stand beside `use: sklearn-mlp`."""

    width: list[int] = option(factory=lambda: [4, 8, 16, 32], help="Hidden units of a layer.")
    depth: list[int] = option(factory=lambda: [1, 2], help="Hidden layers.")


class MlpFamily:
    """Satisfies `scalecore.api.model.ModelFamily`; `train.py` calls `build`."""

    def __init__(self, options: MlpOptions) -> None:
        self.options = options

    def hyperparameters(self):
        return [Hyperparameter(name="alpha", default=1e-4, low=0.0, high=10.0, help="L2 penalty.")]

    def architecture_space(self, data):
        widths, depths = self.options.width, self.options.depth
        shapes = [{"width": width, "depth": depth} for width in widths for depth in depths]
        return ArchitectureSpace(dimensions={"width": widths, "depth": depths}, architectures=tuple(shapes))

    def num_parameters(self, architecture, data):
        sizes = self._sizes(architecture, data)
        return sum((before + 1) * after for before, after in pairwise(sizes))

    def flops(self, architecture, data):
        sizes = self._sizes(architecture, data)
        return sum(2 * before * after for before, after in pairwise(sizes))

    def _sizes(self, architecture, data):
        hidden = [architecture["width"]] * architecture["depth"]
        return [data.context * data.features, *hidden, data.outputs]

    def build(self, architecture, hyperparameters, data):
        from sklearn.neural_network import MLPClassifier

        hidden = (architecture["width"],) * architecture["depth"]
        return MLPClassifier(hidden, alpha=hyperparameters["alpha"])


@hookimpl
def scalecore_models():
    """The model of this file."""
    return [ModelRecord(name="sklearn-mlp", summary="MLPs of scikit-learn.", options=MlpOptions, factory=MlpFamily)]

"""The shapes of the TCN and their closed forms. Only `build` may import torch: the driver calls the rest.

Letters of the formulas: T context, F features, O outputs, C channels, L levels, k kernel.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from scalecore.api.space import ArchitectureSpace, Hyperparameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from scalecore.api.model import HyperparameterReader
    from scalecore.api.space import DataShape
    from scalecore_example.options import TCNOptions

__all__ = ["TCNFamily", "receptive_field"]


def receptive_field(levels: int, kernel: int) -> int:
    """Time steps that the last output sees: 1 + 2·(k - 1)·(2^L - 1), two convolutions in each block of dilation 2^l."""
    return 1 + 2 * (kernel - 1) * ((1 << levels) - 1)


class TCNFamily:
    """Satisfies `scalecore.api.model.ModelFamily`.

    After Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
    Modeling", 2018, without their weight normalisation.
    """

    def __init__(self, options: TCNOptions) -> None:
        self._options = options

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return [Hyperparameter(name="dropout", default=0.1, low=0.0, high=0.9, help="After each convolution.")]

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        """A block more is legal only while the blocks before it do not see the whole window yet."""
        channels, levels = sorted(set(self._options.channels)), sorted(set(self._options.levels))
        kernels = sorted(set(self._options.kernel))
        return ArchitectureSpace(
            dimensions={"channels": tuple(channels), "levels": tuple(levels), "kernel": tuple(kernels)},
            architectures=tuple(
                {"channels": c, "levels": level, "kernel": kernel}
                for c, level, kernel in product(channels, levels, kernels)
                if level == 1 or receptive_field(level - 1, kernel) < data.context
            ),
            roles={"width": "channels"},
        )

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """(k·F·C + C) + (2L - 1)·(k·C² + C) + C·O + O, and F·C + C where F is not C.

        The first convolution, all others, the last layer, and the convolution of width 1 that the first block's
        residual needs where it has another number of channels than its input.
        """
        features, c, levels, kernel = data.features, architecture["channels"], *_depth(architecture)
        residual = 0 if features == c else features * c + c
        first, others = kernel * features * c + c, (2 * levels - 1) * (kernel * c * c + c)
        return first + others + residual + c * data.outputs + data.outputs

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """2·T·(k·F·C + (2L - 1)·k·C²) + 2·C·O, and 2·T·F·C for the residual: a multiply-add counts as two."""
        features, c, levels, kernel = data.features, architecture["channels"], *_depth(architecture)
        residual = 0 if features == c else features * c
        convolutions = kernel * features * c + (2 * levels - 1) * kernel * c * c
        return 2 * data.context * (convolutions + residual) + 2 * c * data.outputs

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """T·F + C·(7·L·T + 2·(k - 1)·(2^L - 1)), roughly.

        Of each convolution its padded input, its ReLU and its dropout with the mask; of each block the ReLU at its end.
        """
        c, levels, kernel = architecture["channels"], *_depth(architecture)
        padding = receptive_field(levels, kernel) - 1
        return data.context * data.features + c * (7 * levels * data.context + padding)

    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> torch.nn.Module:
        from scalecore_example.network import TCN

        return TCN(
            features=data.features,
            channels=architecture["channels"],
            levels=architecture["levels"],
            kernel=architecture["kernel"],
            outputs=data.outputs,
            dropout=hyperparameters["dropout"],
        )


def _depth(architecture: Mapping[str, int]) -> tuple[int, int]:
    return architecture["levels"], architecture["kernel"]

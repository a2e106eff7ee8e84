"""The PatchTST family: its grid and its closed forms. Only `build` imports torch.

Symbols of the formulas: T context, F features, C outputs, P patch_len, n patches, d d_model, u d_ff, L n_layers, h
n_heads.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from scalecore.api.errors import ExperimentError
from scalecore.api.space import ArchitectureSpace, DataShape, Hyperparameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from scalecore.api.model import HyperparameterReader
    from scalecore_patchtst.options import PatchTSTOptions

__all__ = ["SPARE_POSITIONS", "PatchTSTFamily"]

SPARE_POSITIONS = 10
"""Learned positions beyond the number of patches. Earlier studies have them, and their parameter counts include
them."""


class PatchTSTFamily:
    """Satisfies `scalecore.api.model.ModelFamily` and `SupportsLevelCheck`.

    Raises `ExperimentError` if options contradict each other.
    """

    def __init__(self, options: PatchTSTOptions) -> None:
        problems = _problems(options)
        if problems:
            raise ExperimentError("\n".join(problems))
        self._options = options

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return (
            Hyperparameter(
                name="dropout",
                default=0.2,
                low=0.0,
                high=0.9,
                help="Share of activations dropped after the embedding, attention, GELU and feed-forward layers.",
            ),
            Hyperparameter(
                name="head_dropout",
                default=0.0,
                low=0.0,
                high=0.9,
                help="Share of activations dropped before the head.",
            ),
        )

    def level_removed_by(self) -> str | None:
        """RevIN removes the level of each window, and the head does not restore it."""
        return "revin" if self._options.revin else None

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        """All legal shapes, in ascending order of width, depth, heads and feed-forward width."""
        self._patches(data)
        widths, depths = sorted(self._options.d_model), sorted(self._options.n_layers)
        heads, ratios = sorted(self._options.n_heads), sorted(self._options.d_ff_ratio)
        return ArchitectureSpace(
            dimensions={
                "d_model": tuple(widths),
                "n_layers": tuple(depths),
                "n_heads": tuple(heads),
                "d_ff": tuple(sorted({ratio * width for ratio, width in product(ratios, widths)})),
            },
            architectures=tuple(
                {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "d_ff": ratio * d_model}
                for d_model, n_layers, n_heads, ratio in product(widths, depths, heads, ratios)
                if d_model % n_heads == 0
            ),
            depth="n_layers",
            roles={"width": "d_model", "heads": "n_heads", "feed_forward": "d_ff"},
            derived={
                "d_ff_ratio": lambda one: one["d_ff"] / one["d_model"],
                "head_dim": lambda one: one["d_model"] // one["n_heads"],
            },
        )

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Number of trainable parameters of the module; it does not depend on `n_heads`.

        (P·F)·d + d + (n + 10)·d + L·(4d² + 4d + 4d + 2·d·u + u + d) + 2d + (d·n)·C + C, and 2F more with RevIN.
        """
        n, d, u, layers = self._patches(data), architecture["d_model"], architecture["d_ff"], architecture["n_layers"]
        embedding = self._options.patch_len * data.features * d + d
        positions = (n + SPARE_POSITIONS) * d
        attention = 4 * d * d + 4 * d
        norms = 2 * 2 * d
        feed_forward = 2 * d * u + u + d
        head = 2 * d + d * n * data.outputs + data.outputs
        revin = 2 * data.features if self._options.revin else 0
        return embedding + positions + layers * (attention + norms + feed_forward) + head + revin

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """FLOPs of the matrix products of one forward pass of one window; a multiply-add counts as two.

        2·n·(P·F)·d + L·(8·n·d² + 4·n²·d + 4·n·d·u) + 2·n·d·C: the embedding; in each layer the four projections of
        attention, scores and weighted sum, and feed-forward; the head. Biases, normalisation, softmax, GELU and dropout
        are not counted, as usual (`torch.utils.flop_counter` counts the same).
        """
        n, d, u, layers = self._patches(data), architecture["d_model"], architecture["d_ff"], architecture["n_layers"]
        embedding = 2 * n * self._options.patch_len * data.features * d
        layer = 8 * n * d * d + 4 * n * n * d + 4 * n * d * u
        return embedding + layers * layer + 2 * n * d * data.outputs

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Numbers that autograd keeps for the backward pass of one window, with dropout on and fused attention.

        n·P·F + n·d + L·n·(10d + 3u + h + 4) + n·(2d + 2), and T·F more with RevIN. In a layer, 10d are the residual
        stream twice, the outputs of both norms, queries, keys and values, the output of attention, and the masks of the
        residual dropouts; 3u are the input of the GELU, the mask of its dropout and the output; h are the logarithms of
        the softmax sums; 4 are mean and deviation of both norms. Exact for float32 on the CPU. Without dropout it is
        n·(2d + u) less per layer; on CUDA a mask needs a byte per number; explicit attention (`layers.attend`) keeps
        n·h·(n - 1) more per layer.
        """
        n, d, u, layers = self._patches(data), architecture["d_model"], architecture["d_ff"], architecture["n_layers"]
        embedding = n * self._options.patch_len * data.features + n * d
        layer = n * (10 * d + 3 * u + architecture["n_heads"] + 4)
        revin = data.context * data.features if self._options.revin else 0
        return revin + embedding + layers * layer + n * (2 * d + 2)

    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> torch.nn.Module:
        self._patches(data)
        d_model, n_heads = architecture["d_model"], architecture["n_heads"]
        if d_model % n_heads:
            raise ExperimentError(
                f"architecture: n_heads={n_heads} does not divide d_model={d_model}; choose a number of heads that does"
            )

        from scalecore_patchtst.model import PatchTST

        return PatchTST(
            context=data.context,
            features=data.features,
            outputs=data.outputs,
            patch_len=self._options.patch_len,
            stride=self._options.stride,
            revin=self._options.revin,
            d_model=d_model,
            n_layers=architecture["n_layers"],
            n_heads=n_heads,
            d_ff=architecture["d_ff"],
            spare_positions=SPARE_POSITIONS,
            dropout=hyperparameters["dropout"],
            head_dropout=hyperparameters["head_dropout"],
        )

    def _patches(self, data: DataShape) -> int:
        """n = (T - P) // stride + 1."""
        patch_len = self._options.patch_len
        if data.context < patch_len:
            raise ExperimentError(
                f"model.patch_len: a patch of {patch_len} steps does not fit into the context of {data.context} steps; "
                f"lower model.patch_len to {data.context} or less, or raise dataset.context"
            )
        return (data.context - patch_len) // self._options.stride + 1


def _problems(options: PatchTSTOptions) -> list[str]:
    """Contradictions of the options, one line each. Bounds are checked again for callers from Python."""
    problems = [
        f"model.{name}: must be at least 1, got {value}"
        for name, value in (("patch_len", options.patch_len), ("stride", options.stride))
        if value < 1
    ]
    if options.stride > options.patch_len >= 1:
        problems.append(
            f"model.stride: {options.stride} is more than patch_len={options.patch_len}, so no patch would contain "
            f"some steps; set a stride of {options.patch_len} or less"
        )
    for name in ("d_model", "n_layers", "n_heads", "d_ff_ratio"):
        values: tuple[int, ...] = getattr(options, name)
        if not values:
            problems.append(f"model.{name}: must not be empty")
        problems += [f"model.{name}: must be at least 1, got {value}" for value in values if value < 1]
        problems += [
            f"model.{name}: {value} is listed twice" for value in sorted(set(values)) if values.count(value) > 1
        ]
    if not problems and all(width % heads for width, heads in product(options.d_model, options.n_heads)):
        problems.append(
            f"model.n_heads: none of {_listed(options.n_heads)} divides any d_model of {_listed(options.d_model)}; "
            "add a number of heads that divides one of them"
        )
    return problems


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))

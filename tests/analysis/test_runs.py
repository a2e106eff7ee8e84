from __future__ import annotations

from collections.abc import Callable

import pytest

from scalecore.api.trials import Origin, OriginKind, StudyView, TrialRecord
from scalecore_analysis.runs import configurations

from .conftest import shape, trial

Make = Callable[..., StudyView]


def again(number: int, value: float, kind: OriginKind, *, of: str | None = None) -> TrialRecord:
    """A training of the configuration of trial 0 after the search."""
    values = {"learning_rate": 1e-3, "epochs": 10}
    origin = Origin(kind=kind)
    return trial(
        number, value, hash=of or f"{kind}-{number}", architecture=shape(8, 1), hyperparameters=values, origin=origin
    )


def test_fresh_seeds_count_whatever_asked_for_them(study: Make) -> None:
    """Replicates and transfers are seeds of one configuration; the training of an evaluation is none."""
    confirmations = [again(0, 0.53, "replicate"), again(1, 0.55, "transfer"), again(2, 0.10, "final")]
    found, _ = configurations(study([trial(0, 0.5), trial(1, 0.6)], confirmations=confirmations), "val_loss")
    assert (found.fresh, found.values) == (True, (0.53, 0.55))
    assert found.searched is not None
    assert found.mean == pytest.approx(0.54)


def test_one_training_counts_once(study: Make) -> None:
    """Version 0.1 trained the first replicate of a configuration twice, for `confirm` and for `cross-budget`."""
    confirmations = [again(0, 0.53, "replicate"), again(0, 0.53, "transfer", of="replicate-0")]
    (found,) = configurations(study([trial(0, 0.5)], confirmations=confirmations), "val_loss")
    assert found.values == (0.53,)
    # The search's own training, repeated bit by bit, is no fresh seed.
    (found,) = configurations(
        study([trial(0, 0.5)], confirmations=[again(0, 0.5, "replicate", of="hash-0")]), "val_loss"
    )
    assert (found.fresh, found.values) == (False, (0.5,))

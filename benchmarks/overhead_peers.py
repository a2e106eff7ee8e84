"""A study of trivial trials with another library, run by `overhead.py` in a process: PEER TRIALS FOLDER.

The objective is one multiplication, and every trial draws one number at random.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def optuna_study(storage: Callable[[Path], Any]) -> Callable[[int, Path], int]:
    """Optuna's random sampler on a storage; the objective is called in the process of the study."""

    def run(trials: int, folder: Path) -> int:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(storage=storage(folder), sampler=optuna.samplers.RandomSampler(seed=1))
        study.optimize(lambda trial: trial.suggest_float("x", -1.0, 1.0) ** 2, n_trials=trials)
        return len(study.trials)

    return run


def journal(folder: Path) -> Any:
    """Optuna's journal in a file."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def ray_study(*, reuse_actors: bool) -> Callable[[int, Path], int]:
    """Ray Tune with its defaults: each trial in an actor, which is a process, or actors that are used again."""

    def run(trials: int, folder: Path) -> int:
        from ray import tune

        def objective(config: dict[str, float]) -> None:
            tune.report({"loss": config["x"] ** 2})

        tuner = tune.Tuner(
            objective,
            param_space={"x": tune.uniform(-1.0, 1.0)},
            tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=trials, reuse_actors=reuse_actors),
            run_config=tune.RunConfig(storage_path=str(folder / "results")),
        )
        return len(tuner.fit())

    return run


PEERS: dict[str, Callable[[int, Path], int]] = {
    "optuna-memory": optuna_study(lambda folder: None),
    "optuna-journal": optuna_study(journal),
    "optuna-sqlite": optuna_study(lambda folder: f"sqlite:///{folder / 'study.db'}"),
    "ray": ray_study(reuse_actors=False),
    "ray-reused": ray_study(reuse_actors=True),
}


if __name__ == "__main__":
    peer, count, place = sys.argv[1:]
    assert PEERS[peer](int(count), Path(place)) == int(count)

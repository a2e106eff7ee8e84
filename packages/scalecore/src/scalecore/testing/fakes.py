"""Small substitutes for tests: data, models, strategies, loggers, monitors, records, studies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from attrs import define, field

from scalecore.api.files import plain
from scalecore.api.logger import Logger
from scalecore.api.model import HyperparameterReader
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore.api.space import (
    Architecture,
    ArchitectureSpace,
    Choice,
    DataShape,
    Distribution,
    Hyperparameter,
    LogUniform,
    Uniform,
    middle,
)
from scalecore.api.strategy import SearchContext
from scalecore.api.trials import (
    Epoch,
    Origin,
    Outcome,
    Progress,
    Proposal,
    RestoredTrial,
    StudyView,
    TrialRecord,
    TrialState,
)
from scalecore.store.record_json import record_from, record_plain

if TYPE_CHECKING:
    import torch

    from scalecore.api.panel import Panel
    from scalecore.planning.plan import Plan
    from scalecore.planning.runtime import Runtime

__all__ = [
    "ConstantFamily",
    "RecordingLogger",
    "ScriptedMonitor",
    "ScriptedStrategy",
    "TinyDataset",
    "make_study",
    "make_trial",
    "plan_walk",
    "search_context",
    "write_walk",
]


# --- data -----------------------------------------------------------------------------------------------------------


@define(kw_only=True)
class TinyDataset:
    """A random walk with volume; target: direction of the next row. Implements `scalecore.api.dataset.Dataset`."""

    rows: int = 600
    context: int = 8
    seed: int = 0

    def panel(self) -> Panel:
        import numpy as np

        from scalecore.api.dataset_options import Split, TargetOptions
        from scalecore.api.panel import Panel
        from scalecore.api.targets import labels, target_of

        generator = np.random.default_rng(self.seed)
        close = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, self.rows)))
        target = target_of(TargetOptions(kind="direction"))
        return Panel(
            name="tiny",
            times=np.datetime64("2015-01-01") + np.arange(self.rows),
            values=np.column_stack([close, generator.random(self.rows)]),
            labels=labels(target, close=close, price=close),
            features=("Close", "Volume"),
            target=target,
            context=self.context,
            split=Split(),
            normalise="standard",
        )


def write_walk(folder: Path, *, rows: int = 900, seed: int = 3) -> Path:
    """Write a random walk to `walk.csv` in `folder` (Date, Close, Volume), for the dataset `parquet`."""
    import numpy as np

    generator = np.random.default_rng(seed)
    close = np.exp(np.cumsum(generator.normal(0, 0.01, rows)))
    days = np.datetime64("2015-01-01") + np.arange(rows)
    lines = [f"{day},{price},{volume}" for day, price, volume in zip(days, close, generator.random(rows), strict=True)]
    path = folder / "walk.csv"
    path.write_text("\n".join(["Date,Close,Volume", *lines]) + "\n")
    return path


# --- models ---------------------------------------------------------------------------------------------------------


@define(kw_only=True)
class ConstantFamily:
    """Learns logits that are equal for every input; each is the sum of `width` parameters.

    Implements `scalecore.api.model.ModelFamily`.
    """

    widths: tuple[int, ...] = (1, 2, 4)

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return (Hyperparameter(name="start", default=0.0, help="The first logit."),)

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        return ArchitectureSpace(
            dimensions={"width": self.widths}, architectures=tuple({"width": width} for width in self.widths)
        )

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return data.outputs * architecture["width"]

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return data.outputs * architecture["width"]

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return data.outputs

    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> torch.nn.Module:
        import torch

        start, shape = float(hyperparameters["start"]), (data.outputs, architecture["width"])

        class Constant(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.logits = torch.nn.Parameter(torch.full(shape, start / shape[1]))

            def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
                return self.logits.sum(1).expand(len(x_BTF), -1)

        return Constant()


# --- search ---------------------------------------------------------------------------------------------------------


def search_context(
    *, architectures: int = 12, trials: int = 20, seed: int = 0, space: Mapping[str, Distribution] | None = None
) -> SearchContext:
    """The context of a strategy: shapes of width and depth, three hyper-parameters unless `space` has others."""
    shapes = [(width, depth) for width in (8, 16, 32, 64) for depth in (1, 2, 4, 8, 16, 32)][:architectures]
    found = tuple(
        sorted(
            (
                Architecture(
                    values={"width": width, "depth": depth},
                    num_parameters=12 * depth * width**2 + 7 * width,
                    flops=100 * depth * width**2,
                )
                for width, depth in shapes
            ),
            key=lambda one: one.num_parameters,
        )
    )
    default: dict[str, Distribution] = {
        "learning_rate": LogUniform(low=1e-4, high=1e-2),
        "dropout": Uniform(low=0.0, high=0.5),
        "epochs": Choice(values=(10, 20)),
    }
    return SearchContext(
        architectures=found,
        dimensions={name: tuple(sorted({one.values[name] for one in found})) for name in ("width", "depth")},
        space=default if space is None else space,
        direction="minimize",
        trials=trials,
        seed=seed,
    )


class ScriptedStrategy:
    """Proposes the trials of `script` in order and stores the outcomes in `told`.

    An integer in `script` selects an architecture of the context, with the middle of each distribution. Implements
    `scalecore.api.strategy.SearchStrategy`.
    """

    def __init__(self, context: SearchContext, script: Sequence[Proposal | int]) -> None:
        self._script = [one if isinstance(one, Proposal) else _middle(context, one) for one in script]
        self._next = 0
        self.told: list[tuple[int, Outcome]] = []
        self.restored: list[RestoredTrial] = []

    def planned(self) -> Sequence[Proposal]:
        return ()

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        self.restored = list(trials)
        self._next = len(trials)

    def ask(self, number: int) -> Proposal | None:
        if self._next >= len(self._script):
            return None
        self._next += 1
        return self._script[self._next - 1]

    def tell(self, number: int, outcome: Outcome) -> None:
        self.told.append((number, outcome))

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        return False


def _middle(context: SearchContext, position: int) -> Proposal:
    return Proposal(
        architecture=context.architectures[position],
        hyperparameters={name: middle(distribution) for name, distribution in context.space.items()},
        origin=Origin(kind="sampled", reason=f"scripted shape {position}"),
    )


# --- loggers and monitors ------------------------------------------------------------------------------------------


class RecordingLogger(Logger):
    """Stores every call as (name, arguments)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    @property
    def names(self) -> list[str]:
        """The names of the calls, in order."""
        return [name for name, _ in self.calls]

    def study_started(self, study: StudyView) -> None:
        self.calls.append(("study_started", (study,)))

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self.calls.append(("trial_started", (number, proposal, study)))

    def progress(self, progress: Progress) -> None:
        self.calls.append(("progress", (progress,)))

    def epoch(self, number: int, epoch: Epoch) -> None:
        self.calls.append(("epoch", (number, epoch)))

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self.calls.append(("trial_finished", (record, study)))

    def message(self, level: str, text: str) -> None:
        self.calls.append(("message", (level, text)))

    def study_finished(self, study: StudyView) -> None:
        self.calls.append(("study_finished", (study,)))

    def close(self) -> None:
        self.calls.append(("close", ()))


@define(kw_only=True)
class ScriptedMonitor:
    """Returns the readings and verdicts of `script`, one pair for each sample, and repeats the last pair.

    Implements `scalecore.api.monitor.HardwareMonitor`.
    """

    script: Sequence[tuple[Sequence[Reading], Verdict]] = (((), Verdict(action="go_on")),)
    admission: Admission = Admission(action="admit")
    findings: Sequence[Finding] = ()
    interval: float = 0.01
    samples: int = field(init=False, default=0)

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        return self.findings

    def admit(self, demand: Demand) -> Admission:
        return self.admission

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        self.samples += 1
        return self._now[0]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        return self._now[1]

    @property
    def _now(self) -> tuple[Sequence[Reading], Verdict]:
        return self.script[min(max(self.samples, 1), len(self.script)) - 1]


# --- records and studies --------------------------------------------------------------------------------------------


def make_trial(number: int, value: float | None = None, **changes: Any) -> TrialRecord:
    """A finished trial with a shape of `search_context`: completed if it has a value, else failed, or in `state`."""
    shapes = search_context().architectures
    state = TrialState(changes.pop("state", TrialState.COMPLETED if value is not None else TrialState.FAILED))
    line = {
        "epoch": 3,
        "train_loss": 0.5,
        "val_loss": value,
        "learning_rate": 1e-3,
        "gradient_norm": 0.4,
        "clipped_share": 0.0,
        "train_seconds": 1.5,
        "evaluation_seconds": 0.2,
        "accuracy": 0.75,
        "auc": None,
        "precision": 0.8,
        "recall": 2 / 3,
        "f1": 0.7,
    }
    has_value = state in (TrialState.COMPLETED, TrialState.PRUNED)
    matrix = {"tn": 50, "fp": 10, "fn": 20, "tp": 40}
    content: dict[str, Any] = {
        "number": number,
        "hash": f"{number:064x}",
        "seed": 100 + number,
        "state": state,
        "reason": None if state is TrialState.COMPLETED else f"{state} in a test",
        "value": value if has_value else None,
        "origin": Origin(kind="sampled"),
        "architecture": shapes[number % len(shapes)],
        "hyperparameters": {"learning_rate": 1e-3, "dropout": 0.1, "epochs": 10},
        "micro_batch": 64,
        "accumulation": 1,
        "started": "2026-01-01T00:00:00.000Z",
        "ended": "2026-01-01T00:01:00.000Z",
        "duration": 60.0,
        "best": {**line, "confusion_matrix": matrix} if has_value else None,
        "last": line if has_value else None,
        "learning_curve": [line] if has_value else [],
        **changes,
    }
    return record_from(plain(content))


def changed(record: TrialRecord, **changes: object) -> TrialRecord:
    """The record with other fields, each an object or its JSON form."""
    return record_from({**record_plain(record), **plain(changes)})


def planned_walk(folder: Path, *overrides: str, rows: int = 900, **changes: Any) -> tuple[Plan, Runtime]:
    """The plan of a study in `folder / "study"` with its live objects: `EXPERIMENT` with changed keys and overrides."""
    from scalecore.config.resolve import load_resolved
    from scalecore.planning.build_plan import build_plan
    from scalecore.plugins.registry import load_registry

    folder.mkdir(parents=True, exist_ok=True)
    write_walk(folder, rows=rows)
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump({**EXPERIMENT, **changes}))
    loaded, resolved = load_resolved(file, overrides=overrides, registry=load_registry(no_plugins=True))
    return build_plan(loaded, resolved, folder=folder / "study")


def plan_walk(folder: Path, *overrides: str, rows: int = 900, **changes: Any) -> Plan:
    """The plan of `planned_walk`, without live objects."""
    return planned_walk(folder, *overrides, rows=rows, **changes)[0]


def make_study(folder: Path, trials: Sequence[TrialRecord] = (), **changes: Any) -> StudyView:
    """A study in `folder` with these trials and a real experiment and plan: model `linear` on a random walk.

    `space` names the varied hyper-parameters; other arguments replace attributes of the view.
    """
    plan = plan_walk(folder / "source", name=changes.get("name", "walk"))
    names: Sequence[str] = changes.pop("space", ("learning_rate",))
    experiment = {**plan.experiment}
    experiment["search"] = {
        **experiment["search"],
        "space": {name: {"log_uniform": [1e-4, 1e-2]} for name in names},
    }
    content: dict[str, Any] = {
        "id": hashlib.sha256(str(folder).encode()).hexdigest()[:16],
        "name": "walk",
        "folder": folder,
        "experiment": experiment,
        "plan": plan.report(),
        "total": max(4, len(trials)),
        "trials": tuple(trials),
        **changes,
    }
    return StudyView(**content)


EXPERIMENT: Mapping[str, Any] = {
    "name": "walk",
    "dataset": {
        "use": "parquet",
        "path": "walk.csv",
        "features": ["Close", "Volume"],
        "target": {"kind": "direction"},
        "context": 4,
    },
    "model": "linear",
    "search": {"use": "random", "trials": 4, "space": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}},
    "training": {"effective_batch": 64, "threads": 1, "hyperparameters": {"epochs": 2, "warmup_steps": 5}},
    "loggers": [],
}
"""An experiment that runs in seconds; `write_walk` writes its data."""

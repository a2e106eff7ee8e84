"""Objects of plugins are checked against the core's calls before anything is computed."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore.api.components import NoOptions, Record
from scalecore.api.errors import PluginError
from scalecore.api.logger import Logger
from scalecore.config.instantiate import create
from scalecore.config.resolved import ResolvedComponent
from scalecore.testing.fakes import RecordingLogger, ScriptedMonitor, ScriptedStrategy, TinyDataset, search_context


def component(made: Any) -> ResolvedComponent:
    record = Record(name="mine", summary="One.", factory=lambda options, *context: made)
    return ResolvedComponent(record=record, options=NoOptions(), provider="acme", version="1.0")


def refusal(kind: str, made: Any) -> str:
    with pytest.raises(PluginError) as caught:
        create(kind, component(made))
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "protocol", "lacks"),
    [
        ("dataset", "Dataset", "panel"),
        ("model", "ModelFamily", "hyperparameters, architecture_space, build"),
        ("search strategy", "SearchStrategy", "planned, restore, ask, tell, should_prune"),
        (
            "logger",
            "Logger",
            "study_started, trial_started, progress, epoch, trial_finished, message, take_remarks, study_finished, "
            "close",
        ),
        ("monitor", "HardwareMonitor", "interval, preflight, admit, sample, verdict"),
        ("executor", "Executor", "submit, poll, stop, close"),
        ("analysis", "Analysis", "run"),
    ],
)
def test_every_kind_is_checked_for_missing_methods(kind: str, protocol: str, lacks: str) -> None:
    """All missing methods at once, with the distribution and the protocol."""
    module = "strategy" if kind == "search strategy" else kind
    assert refusal(kind, object()) == (
        f"{kind} 'mine' (acme 1.0) cannot start: object has no {lacks}; "
        f"see the protocol scalecore.api.{module}.{protocol}"
    )


def test_what_the_core_can_call_passes() -> None:
    """With any base class, and with additional arguments that have defaults."""

    class Set:
        def panel(self, seed: int = 0) -> None: ...

    for kind, made in (
        ("dataset", Set()),
        ("dataset", TinyDataset()),
        ("logger", Logger()),
        ("logger", RecordingLogger()),
        ("monitor", ScriptedMonitor()),
        ("search strategy", ScriptedStrategy(search_context(), [])),
    ):
        assert create(kind, component(made)) is made


def test_a_factory_that_returns_no_object_is_named() -> None:
    """A forgotten `return`, or the class instead of an object."""
    tail = "see the protocol scalecore.api.dataset.Dataset"
    head = "dataset 'mine' (acme 1.0) cannot start: its factory returned"
    assert refusal("dataset", None) == f"{head} nothing, not an object; {tail}"
    assert refusal("dataset", TinyDataset) == f"{head} the class TinyDataset, not an object; {tail}"


def test_members_that_cannot_be_used_are_named() -> None:
    """An attribute instead of a method, a method instead of a number, unsuitable arguments."""

    class Monitor:
        preflight = None

        def interval(self) -> float:
            return 1.0

        def admit(self) -> None: ...

        async def sample(self, processes: Any) -> None: ...

        def verdict(self, readings: Any, more: Any) -> None: ...

    assert refusal("monitor", Monitor()) == (
        "monitor 'mine' (acme 1.0) cannot start: Monitor.interval must be a number, not a method; "
        "Monitor.preflight must be a method, not None; "
        "Monitor.admit cannot be called as admit(demand): too many positional arguments; "
        "Monitor.sample must not be `async`: it is not awaited; "
        "Monitor.verdict cannot be called as verdict(readings): missing a required argument: 'more'; "
        "see the protocol scalecore.api.monitor.HardwareMonitor"
    )


def test_arguments_by_keyword_are_part_of_the_check() -> None:
    """An executor receives `kill` by name."""

    class Runs:
        def submit(self, folder: Any) -> None: ...
        def poll(self, handles: Any) -> None: ...
        def stop(self, handle: Any) -> None: ...
        def close(self) -> None: ...

    assert refusal("executor", Runs()) == (
        "executor 'mine' (acme 1.0) cannot start: Runs.stop cannot be called as stop(handle, kill=...): "
        "got an unexpected keyword argument 'kill'; see the protocol scalecore.api.executor.Executor"
    )


def test_each_closed_form_is_optional() -> None:
    """A family may count its parameters only; the closed forms that it has must be callable."""

    class Family:
        def hyperparameters(self) -> Any: ...
        def architecture_space(self, data: Any) -> Any: ...
        def build(self, architecture: Any, hyperparameters: Any, data: Any) -> Any: ...

    class Says(Family):
        def num_parameters(self, architecture: Any) -> Any: ...

    family = Family()
    assert create("model", component(family)) is family
    assert refusal("model", Says()) == (
        "model 'mine' (acme 1.0) cannot start: Says.num_parameters cannot be called as "
        "num_parameters(architecture, data): too many positional arguments; "
        "see the protocol scalecore.api.model.ModelFamily"
    )


def test_an_optional_protocol_is_checked_if_implemented() -> None:
    """An explanation that requires arguments would fail in the middle of a plan."""

    class Explaining(ScriptedStrategy):
        def explain(self, depth: int) -> None: ...

    assert refusal("search strategy", Explaining(search_context(), [])) == (
        "search strategy 'mine' (acme 1.0) cannot start: Explaining.explain cannot be called as explain(): "
        "missing a required argument: 'depth'; see the protocol scalecore.api.strategy.SearchStrategy"
    )


def test_a_phase_that_is_not_a_method_is_refused() -> None:
    """It is called for each trial, so it would end a running study."""

    class Phased(ScriptedStrategy):
        phase = "startup"

    assert refusal("search strategy", Phased(search_context(), [])) == (
        "search strategy 'mine' (acme 1.0) cannot start: Phased.phase must be a method, not 'startup'; "
        "see the protocol scalecore.api.strategy.SearchStrategy"
    )


def test_a_factory_that_exits_is_named() -> None:
    """`sys.exit` in a plugin would end a campaign without a message."""

    def leave(options: Any) -> None:
        raise SystemExit(3)

    record = Record(name="mine", summary="One.", factory=leave)
    with pytest.raises(PluginError) as caught:
        create("dataset", ResolvedComponent(record=record, options=NoOptions(), provider="acme", version="1.0"))
    assert str(caught.value) == "dataset 'mine' (acme 1.0) cannot start: SystemExit: 3"

"""A plugin with one component of each kind, and experiment files written as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalecore.plugins.registry import Registry, load_registry
from scalecore.testing.fixtures import experiment as experiment
from scalecore.testing.fixtures import run_cli as run_cli

BENCH = """
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Le, Lt, MaxLen, MinLen
from attrs import field, frozen, validators

from scalecore import hookimpl
from scalecore.api.options import ExistingFile, option
from scalecore.api.components import *
from scalecore_torch.plugin import scalecore_trainers


class Color(str, Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


@frozen(kw_only=True)
class Part:
    size: Annotated[int, Ge(1)] = option(1, help="How big.")
    label: str | None = option(None, help="What it is called.")


@frozen(kw_only=True)
class Above:
    kind: Literal["above"] = "above"
    level: float


@frozen(kw_only=True)
class Between:
    kind: Literal["between"] = "between"
    low: float
    high: float

    def __attrs_post_init__(self):
        if self.low >= self.high:
            raise ValueError("low must be below high")


@frozen(kw_only=True)
class TableOptions:
    rows: Annotated[int, Ge(1), Lt(1000)] = option(10, help="Rows of the table.")
    file: ExistingFile | None = option(None, help="Where it is read from.")
    target: Above | Between | None = option(None, help="What is predicted.")
    columns: list[str] = option(factory=list, help="Names of columns.")


@frozen(kw_only=True)
class ToyOptions:
    width: Annotated[int, Interval(ge=2, le=64)] = option(help="Units.")
    rate: Annotated[float, Gt(0), Le(1)] = option(0.5, help="A share.")
    bias: bool = option(True, help="Whether there is a bias.")
    color: Color = option(Color.RED, help="A color.")
    level: Level = option(Level.LOW, help="A level.")
    parts: tuple[Part, ...] = option((), help="Parts.")
    size: tuple[int, float] = option((1, 2.0), help="Two numbers.")
    names: Annotated[dict[str, int], MaxLen(2)] = option(factory=dict, help="Numbers by name.")
    tags: Annotated[list[str], MinLen(2)] = option(factory=lambda: ["a", "b"], help="At least two.")
    cache: Path | Literal["auto"] = option("auto", help="A folder | or `auto`.")
    power: int = field(default=2, validator=validators.in_((2, 3)), metadata={"help": "An exponent."})
    other: Any = option(None, help="Anything.")


@frozen(kw_only=True)
class DiceOptions:
    sides: int = option(6, help="Faces of the dice.")


@frozen(kw_only=True)
class BuggyOptions:
    size: int = option(1, help="A number.")

    def __attrs_post_init__(self):
        [][self.size]


@frozen(kw_only=True)
class OddOptions:
    numbers: frozenset[int] = option(frozenset(), help="A type that is not understood.")
    when: range = option(None, help="Another.")


def _nothing(*_):
    raise AssertionError("no component is made when a file is checked")


@hookimpl
def scalecore_datasets():
    return [DatasetRecord(name="table", summary="A table.", options=TableOptions, factory=_nothing)]


@hookimpl
def scalecore_models():
    return [
        ModelRecord(name="toy", summary="A toy.", options=ToyOptions, factory=_nothing),
        ModelRecord(name="buggy", summary="A bug.", options=BuggyOptions, factory=_nothing),
        ModelRecord(name="odd", summary="Odd.", options=OddOptions, factory=_nothing),
        ModelRecord(name="plain", summary="No options.", factory=_nothing),
    ]


@hookimpl
def scalecore_search_strategies():
    return [SearchStrategyRecord(name="dice", summary="Chance.", options=DiceOptions, factory=_nothing)]


@hookimpl
def scalecore_executors():
    return [ExecutorRecord(name="local", summary="Here.", factory=_nothing)]


@hookimpl
def scalecore_loggers():
    return [
        LoggerRecord(name="console", summary="The screen.", factory=_nothing),
        LoggerRecord(name="files", summary="Files.", factory=_nothing),
    ]


@hookimpl
def scalecore_hardware_monitors():
    return [HardwareMonitorRecord(name="clock", summary="The time.", options=DiceOptions, factory=_nothing)]
"""

SMALL = """\
name: small
dataset: table
model: {use: toy, width: 8}
search: {use: dice}
"""


@pytest.fixture
def small() -> str:
    """A file with only what must be there."""
    return SMALL


@pytest.fixture
def registry(fake_plugin: Any) -> Registry:
    """A registry with one component of each kind but `analysis`."""
    fake_plugin("bench", version="1.0", code=BENCH)
    return load_registry(path=[str(fake_plugin.root)])


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write text as `experiment.yaml` in the working directory; return the name of the file."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("experiment.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        return "experiment.yaml"

    return write

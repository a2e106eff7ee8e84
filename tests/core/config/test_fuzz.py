"""Loading any text returns an experiment or raises `ExperimentError`, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalecore.api.errors import ExperimentError
from scalecore.config.experiment import Experiment
from scalecore.config.load import LoadedExperiment, load_experiment

KEYS = [
    "name",
    "seed",
    "output",
    "dataset",
    "model",
    "search",
    "objective",
    "training",
    "execution",
    "guards",
    "monitors",
    "loggers",
    "use",
    "trials",
    "budget",
    "space",
    "uniform",
    "int",
    "choice",
    "step",
    "log",
    "retry",
    "early_stopping",
    "micro_batch",
    "hyperparameters",
    "options",
    "component",
]
PIECES = [
    ": ",
    "\n",
    "\n  ",
    "\n    - ",
    "- ",
    ", ",
    "&a",
    "*a",
    "!!int",
    "!x",
    "\t",
    "---",
    "...",
    "%YAML 1.2",
    "? ",
    "<<",
]
PIECES += ["1e5", "0", "true", "\\", "\x00", "\x85", "\ufeff", "\ud800", "é", *"[]{}'\"#|>@`"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "2M", "auto", "1e-3", "", "0", "minimize", "~", "on"]),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner)
    ),
    max_leaves=12,
)
WORDS = st.lists(st.sampled_from(KEYS + PIECES), max_size=25).map("".join)
FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def load(folder: Path, text: str, *overrides: str) -> LoadedExperiment | None:
    """Load text as a file; None if it is refused with a message."""
    file = folder / "experiment.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return load_experiment(file, overrides=overrides)
    except ExperimentError as error:
        message = str(error)
    assert message
    assert all(line.startswith((f"{file}:", "<command line>: ")) for line in message.split("\n"))
    return None


@FUZZ
@given(text=st.text(max_size=60) | WORDS)
def test_any_text(text: str, tmp_path: Path) -> None:
    """Arbitrary characters, and arbitrary sequences of YAML tokens."""
    load(tmp_path, text)
    load(tmp_path, "name: a\ndataset: a\nmodel: a\nsearch: {use: a}\n" + text)


@FUZZ
@given(tree=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8))
def test_any_values_under_known_keys(tree: dict[str, Any], tmp_path: Path) -> None:
    """Values of any type at any path."""
    load(tmp_path, json.dumps(tree))


@FUZZ
@given(search=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), data=st.data())
def test_any_search_and_overrides(search: dict[str, Any], data: st.DataObject, tmp_path: Path) -> None:
    """A valid file with one arbitrary section and arbitrary overrides."""
    path = st.lists(st.sampled_from([*KEYS, "0", "1", "-1", ""]), max_size=4).map(".".join)
    overrides = data.draw(st.lists(st.builds("{}={}".format, path, WORDS), max_size=3))
    text = json.dumps({"name": "a", "dataset": "a", "model": "a", "search": {"use": "a"} | search})

    load(tmp_path, text, *overrides)


@pytest.mark.parametrize("cut", range(0, 120, 5))
def test_any_truncated_file(cut: int, tmp_path: Path) -> None:
    """A file that was cut off while it was written is refused or is an experiment."""
    text = "name: a\ndataset: {use: a, b: [1, 2]}\nmodel: a\nsearch:\n  use: a\n"
    text += "  space:\n    x: {uniform: [0.1, 0.3]}\nseed: 4\n"

    loaded = load(tmp_path, text[:cut])

    assert loaded is None or isinstance(loaded.experiment, Experiment)

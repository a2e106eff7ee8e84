"""From the names in the file to components with checked options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExitCode, ExperimentError, PluginError, ScalecoreError
from scalecore.config.experiment_json import to_plain
from scalecore.config.load import load_experiment
from scalecore.config.resolve import load_resolved, resolve
from scalecore.plugins.registry import Registry

FULL = """\
name: full
seed: 7
output: out
dataset: {use: table, rows: 5, file: data.csv, target: {kind: between, low: 1, high: 2}, columns: [a, b]}
model:
  use: toy
  width: 8
  rate: 1
  color: blue
  level: 2
  parts: [{size: 2}, {label: end}]
  size: [3, 4]
  names: {one: 1}
  cache: folder
  other: {free: [1, text, null]}
search:
  use: dice
  sides: 8
  trials: 12
  budget: 1.5B
  space:
    a: {log_uniform: [1e-4, 1]}
    b: {uniform: [0, 0.5]}
    c: {int: [1, 9], step: 2}
    d: {int: [1, 8], log: true}
    e: {int: [1, 8]}
    f: {choice: [gelu, relu]}
training: {gradient_clip: null}
monitors: [clock, {use: clock, sides: 3}]
loggers: [console]
"""


def error_of(name: str, registry: Registry, *overrides: str) -> ScalecoreError:
    """The error for a file with components that cannot be resolved."""
    with pytest.raises((ExperimentError, PluginError)) as caught:
        load_resolved(name, overrides=overrides, registry=registry)
    return caught.value


def test_components_come_with_options_and_provider(write: Any, small: str, registry: Registry) -> None:
    """Each role has its record, its options as an object of their class, and its provider."""
    resolved = resolve(load_experiment(write(small)), registry)

    assert resolved.model.record is registry.get("model", "toy").record
    assert (resolved.model.name, resolved.model.provider, resolved.model.version) == ("toy", "bench", "1.0")
    assert type(resolved.model.options) is resolved.model.record.options
    assert (resolved.model.options.width, resolved.model.options.rate) == (8, 0.5)
    assert (resolved.dataset.name, resolved.dataset.options.rows) == ("table", 10)
    assert (resolved.search.options.sides, resolved.executor.name) == (6, "local")
    assert [one.name for one in resolved.loggers] == ["console", "files"]
    assert resolved.monitors == ()


def test_options_have_their_types(write: Any, registry: Registry, tmp_path: Path) -> None:
    """Enums, nested classes, tuples, unions by their tag, and paths relative to the experiment file."""
    (tmp_path / "data.csv").touch()
    loaded, resolved = load_resolved(write(FULL), registry=registry)

    options = resolved.model.options
    assert (options.color.name, options.level.name, type(options.rate)) == ("BLUE", "HIGH", float)
    assert [(part.size, part.label) for part in options.parts] == [(2, None), (1, "end")]
    assert options.size == (3, 4.0)
    assert type(options.size[1]) is float
    assert (options.names, options.other) == ({"one": 1}, {"free": [1, "text", None]})
    assert options.cache == tmp_path / "folder"
    assert resolved.dataset.options.file == tmp_path / "data.csv"
    assert type(resolved.dataset.options.target).__name__ == "Between"
    assert [one.options.sides for one in resolved.monitors] == [6, 3]
    assert resolved.experiment == loaded.experiment


def test_paths_are_relative_to_the_file_not_to_the_working_directory(
    small: str, registry: Registry, tmp_path: Path
) -> None:
    """An experiment in another folder finds its data next to it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "data.csv").touch()
    (folder / "e.yaml").write_text(small.replace("dataset: table", "dataset: {use: table, file: data.csv}"))

    _, resolved = load_resolved(folder / "e.yaml", registry=registry)

    assert resolved.dataset.options.file == folder / "data.csv"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dataset: table", "dataset: {use: table, rows: 0}", "2:29: dataset.rows: must be at least 1, got 0"),
        ("dataset: table", "dataset: {use: table, rows: 1000}", "2:29: dataset.rows: must be less than 1000, got 1000"),
        ("dataset: table", "dataset: {use: table, rowz: 5}", "2:23: dataset.rowz: unknown key; did you mean 'rows'?"),
        *(
            ("{use: dice}\n", f"{{use: dice}}\ntraining: {{{new}}}\n", f"5:{column}: training.{message}")
            for new, column, message in (
                ("effective_batch: 0", 29, "effective_batch: must be at least 1, got 0"),
                ("gradient_clip: 0", 27, "gradient_clip: must be greater than 0, got 0"),
                ("gradient_clip: high", 27, "gradient_clip: expected a number or null, got string 'high'"),
                (
                    "micro_batch: autoo",
                    25,
                    "micro_batch: expected an integer or auto, got string 'autoo'; did you mean auto?",
                ),
                ("micro_batch: 0", 25, "micro_batch: must be at least 1, got 0"),
                ("micro_batch: 1.5", 25, "micro_batch: expected an integer or auto, got 1.5"),
                (
                    "schedule: cosin",
                    22,
                    "schedule: expected one of cosine, linear, constant or an import path "
                    "(module:Name or ./file.py:Name), got string 'cosin'; did you mean cosine?",
                ),
                ("effectve_batch: 3", 12, "effectve_batch: unknown key; did you mean 'effective_batch'?"),
                ("early_stoping: null", 12, "early_stoping: unknown key; did you mean 'early_stopping'?"),
            )
        ),
        (
            "dataset: table",
            "dataset: {use: table, zzz: 5}",
            "2:23: dataset.zzz: unknown key; expected one of rows, file, target, columns",
        ),
        ("dataset: table", "dataset: {use: table, file: no.csv}", "2:29: dataset.file: there is no file HERE/no.csv"),
        (
            "dataset: table",
            f"dataset: {{use: table, file: {'n' * 300}}}",
            "2:29: dataset.file: a name in this path has 300 bytes, but at most 255 are allowed; use a shorter one",
        ),
        (
            "dataset: table",
            "dataset: {use: table, columns: a}",
            "2:32: dataset.columns: expected a list, got string 'a'",
        ),
        (
            "dataset: table",
            "dataset: {use: table, columns: [a, 1]}",
            "2:36: dataset.columns.1: expected a string, got 1; put it in quotes",
        ),
        (
            "dataset: table",
            "dataset: {use: table, target: 5}",
            "2:31: dataset.target: expected a mapping or null, got 5",
        ),
        ("dataset: table", "dataset: {use: table, target: {}}", "2:23: dataset.target.kind: required, but missing"),
        (
            "dataset: table",
            "dataset: {use: table, target: {kind: abov}}",
            "2:38: dataset.target.kind: expected one of above, between, got string 'abov'; did you mean above?",
        ),
        (
            "dataset: table",
            "dataset: {use: table, target: {kind: above, levl: 1}}",
            "2:23: dataset.target.level: required, but missing\n"
            "experiment.yaml:2:45: dataset.target.levl: unknown key; did you mean 'level'?",
        ),
        (
            "dataset: table",
            "dataset: {use: table, target: {kind: between, low: 2, high: 1}}",
            "2:23: dataset.target: low must be below high",
        ),
        ("width: 8", "width: 1", "3:26: model.width: must be at least 2, got 1"),
        ("width: 8", "width: 65", "3:26: model.width: must be at most 64, got 65"),
        ("width: 8", "rate: 0.5", "3:1: model.width: required, but missing"),
        ("width: 8", "width: 8, rate: 0", "3:35: model.rate: must be greater than 0, got 0"),
        ("width: 8", "width: 8, bias: 1", "3:35: model.bias: expected true or false, got 1"),
        ("width: 8", "width: 8, bias: yes", "3:35: model.bias: expected true or false, got string 'yes'"),
        ("width: 8", "width: 8, color: green", "3:36: model.color: expected one of red, blue, got string 'green'"),
        ("width: 8", "width: 8, level: true", "3:36: model.level: expected one of 1, 2, got true"),
        (
            "width: 8",
            "width: 8, parts: [{size: 0}, {siez: 1}, 5]",
            "3:44: model.parts.0.size: must be at least 1, got 0\n"
            "experiment.yaml:3:49: model.parts.1.siez: unknown key; did you mean 'size'?\n"
            "experiment.yaml:3:59: model.parts.2: expected a mapping, got 5",
        ),
        ("width: 8", "width: 8, size: [1]", "3:29: model.size: expected a list of 2, got one of 1"),
        (
            "width: 8",
            "width: 8, size: [a, b]",
            "3:36: model.size.0: expected an integer, got string 'a'\n"
            "experiment.yaml:3:39: model.size.1: expected a number, got string 'b'",
        ),
        ("width: 8", "width: 8, names: {a: x}", "3:40: model.names.a: expected an integer, got string 'x'"),
        ("width: 8", "width: 8, names: {a: 1, b: 2, c: 3}", "3:29: model.names: must have at most 2 items, got 3"),
        ("width: 8", "width: 8, tags: [a]", "3:29: model.tags: must have at least 2 items, got 1"),
        ("width: 8", "width: 8, tags: []", "3:29: model.tags: must not be empty"),
        ("width: 8", "width: 8, cache: 5", "3:36: model.cache: expected a path or auto, got 5"),
        ("width: 8", "width: 8, power: 1", "3:36: model.power: 'power' must be in (2, 3) (got 1)"),
        (
            "{use: toy, width: 8}",
            "{use: plain, width: 8}",
            "3:21: model.width: unknown key; the model 'plain' has no options",
        ),
        ("{use: dice}", "{use: dice, sidez: 3}", "4:21: search.sidez: unknown key; did you mean 'sides'?"),
        ("{use: dice}", "{use: dice, trails: 3}", "4:21: search.trails: unknown key; did you mean 'trials'?"),
    ],
)
def test_wrong_options(
    write: Any, small: str, registry: Registry, tmp_path: Path, old: str, new: str, message: str
) -> None:
    """Options of plugins are checked as strictly as the file's own keys, with the same positions."""
    assert old in small

    error = error_of(write(small.replace(old, new)), registry)

    assert str(error) == f"experiment.yaml:{message.replace('HERE', str(tmp_path))}"
    assert error.exit_code is ExitCode.BAD_FILE


def test_auto_is_not_read_as_a_path(write: Any, small: str, registry: Registry) -> None:
    """A literal in a union with a path keeps its meaning."""
    _, resolved = load_resolved(write(small.replace("width: 8", "width: 8, cache: auto")), registry=registry)

    assert resolved.model.options.cache == "auto"


def test_problems_of_the_file_and_of_all_components_come_at_once(write: Any, registry: Registry) -> None:
    """One message has the file's own keys, every component's options, and missing components."""
    text = """\
name: a/b
dataset: {use: table, rows: 0}
model: {use: toyy}
search: {use: dice, sides: x, trials: 0}
monitors: [{use: clock, sides: y}]
loggers: [console, ink]
"""
    error = error_of(write(text), registry)

    rule = "a name may contain letters, digits, `-`, `_` and `.`, and must not start with `-` or `.`"
    assert str(error) == (
        f"experiment.yaml:1:7: name: {rule}, got string 'a/b'\n"
        "experiment.yaml:2:29: dataset.rows: must be at least 1, got 0\n"
        "experiment.yaml:3:14: model.use: there is no model 'toyy' (did you mean 'toy'?); "
        "installed models: buggy, odd, plain, toy\n"
        "experiment.yaml:4:28: search.sides: expected an integer, got string 'x'\n"
        "experiment.yaml:4:39: search.trials: must be at least 1, got 0\n"
        "experiment.yaml:5:32: monitors.0.sides: expected an integer, got string 'y'\n"
        "experiment.yaml:6:20: loggers.1: there is no logger 'ink'; installed loggers: console, files"
    )
    assert error.exit_code is ExitCode.BAD_FILE


def test_a_missing_plugin_alone_has_its_own_exit_code(write: Any, small: str, registry: Registry) -> None:
    """If all problems are those of plugins, so is the error; the message still has file, line and column."""
    error = error_of(write(small.replace("{use: dice}", "{use: architectural}")), registry, "loggers=[mlflow]")

    assert str(error) == (
        "experiment.yaml:4:15: search.use: search 'architectural' is not installed; "
        "`pip install scalecore-optuna` provides it\n"
        "<command line>: loggers=[mlflow]: loggers.0: logger 'mlflow' is not installed; "
        "`pip install scalecore-trackers` provides it"
    )
    assert type(error).__mro__[1] is PluginError
    assert error.exit_code is ExitCode.PLUGIN


def test_options_class_with_a_bug_is_the_plugins_fault(write: Any, small: str, registry: Registry) -> None:
    """An exception other than ValueError names the plugin, without a traceback."""
    error = error_of(write(small.replace("{use: toy, width: 8}", "buggy")), registry)

    assert str(error) == (
        "experiment.yaml:3:8: model: bench 1.0 cannot check this option (IndexError: list index out of range)"
    )
    assert error.exit_code is ExitCode.PLUGIN


@pytest.mark.parametrize("model", ["odd", "{use: odd, when: 5}"])
def test_an_option_of_an_unsupported_type_is_the_plugins_fault(
    write: Any, small: str, registry: Registry, model: str
) -> None:
    """Options may only have the types of `scalecore.api.options`; the error names the plugin."""
    error = error_of(write(small.replace("{use: toy, width: 8}", model)), registry)

    assert str(error).startswith("experiment.yaml:3:")
    assert "bench 1.0 cannot check this option (" in str(error)
    assert error.exit_code is ExitCode.PLUGIN


def test_a_broken_plugin_stops_only_its_users(write: Any, small: str, fake_plugin: Any, registry: Registry) -> None:
    """An experiment without its components is loaded; one with them gets the stored reason."""
    from scalecore.plugins.registry import load_registry

    fake_plugin("scalecore-optuna", version="0.1.0", code="import no_such_module_xyz")
    mixed = load_registry(path=[str(fake_plugin.root)])

    assert resolve(load_experiment(write(small)), mixed).search.name == "dice"
    error = error_of(write(small.replace("{use: dice}", "{use: architectural}")), mixed)
    place = fake_plugin.root / "fake_scalecore_optuna.py"
    assert str(error) == (
        "experiment.yaml:4:15: search.use: search 'architectural' is provided by scalecore-optuna 0.1.0, "
        "which is broken: "
        "importing fake_scalecore_optuna failed: ModuleNotFoundError: No module named 'no_such_module_xyz' "
        f"({place}, line 1)"
    )


def test_the_plain_form_is_json_with_every_default(write: Any, small: str, registry: Registry) -> None:
    """What a study stores has every option with its value."""
    _, resolved = load_resolved(write(small), registry=registry)

    plain = to_plain(resolved)

    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == [
        *("name", "seed", "output", "dataset", "model", "search"),
        *("objective", "training", "execution", "guards", "monitors", "loggers", "analyses"),
    ]
    assert plain["dataset"] == {"use": "table", "rows": 10, "file": None, "target": None, "columns": []}
    assert plain["model"] == {
        "use": "toy",
        "width": 8,
        "rate": 0.5,
        "bias": True,
        "color": "red",
        "level": 1,
        "parts": [],
        "size": [1, 2.0],
        "names": {},
        "tags": ["a", "b"],
        "cache": "auto",
        "power": 2,
        "other": None,
    }
    assert plain["search"] == {
        "use": "dice",
        "sides": 6,
        "trials": 50,
        "budget": None,
        "tolerance": 0.25,
        "exclude": [],
        "space": {},
    }
    assert plain["execution"]["use"] == "local"
    assert plain["loggers"] == [{"use": "console"}, {"use": "files"}]
    assert plain["training"]["early_stopping"] == {"patience": 10, "min_delta": 0.001}


def test_the_plain_form_loads_to_the_same_experiment(write: Any, registry: Registry, tmp_path: Path) -> None:
    """A study's stored experiment is an experiment file, also from another folder, with the same components."""
    (tmp_path / "data.csv").touch()
    _, first = load_resolved(write(FULL), registry=registry)
    plain = to_plain(first)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "experiment.json").write_text(json.dumps(plain))

    _, second = load_resolved(tmp_path / "study" / "experiment.json", registry=registry)

    assert to_plain(second) == plain
    assert (second.dataset, second.model, second.search) == (first.dataset, first.model, first.search)
    assert second.experiment.search == attrs_evolved(first.experiment.search, second.experiment.search.component)
    assert plain["search"]["space"]["c"] == {"int": [1, 9], "step": 2}
    assert plain["search"]["space"]["d"] == {"int": [1, 8], "log": True}
    assert plain["search"]["budget"] == "1.5B"
    assert plain["output"] == str(tmp_path / "out")


def attrs_evolved(search: Any, component: Any) -> Any:
    """The same section with another component: its raw options now include the defaults."""
    import attrs

    return attrs.evolve(search, component=component)


def test_the_plain_form_does_not_depend_on_the_order_in_the_file(write: Any, registry: Registry, small: str) -> None:
    """Identity hashes of equal experiments are equal in every process."""
    one = to_plain(load_resolved(write(small + "seed: 1\n"), registry=registry)[1])
    lines = small.replace("{use: toy, width: 8}", "{width: 8, use: toy}").splitlines()
    other = to_plain(load_resolved(write("\n".join(["seed: 1", *reversed(lines)])), registry=registry)[1])

    assert json.dumps(one) == json.dumps(other)


def test_checking_imports_nothing_heavy(write: Any, small: str, registry: Registry, tmp_path: Path) -> None:
    """Loading and resolving an experiment imports no torch, optuna, pandas, numpy or pyarrow."""
    name = write(small)
    code = (
        "import sys\n"
        "from scalecore.config.resolve import load_resolved\n"
        "from scalecore.config.experiment_json import to_plain\n"
        "from scalecore.plugins.registry import load_registry\n"
        f"loaded, resolved = load_resolved({name!r}, registry=load_registry(path=[{str(tmp_path)!r}]))\n"
        "to_plain(resolved)\n"
        "print(sorted({'torch', 'optuna', 'pandas', 'numpy', 'pyarrow', 'scipy', 'rich'} & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_a_component_named_with_its_distribution_is_that_component(write: Any, small: str, registry: Registry) -> None:
    """As text, in a mapping, in `search`, in an override; it is stored with one spelling."""
    text = small.replace("use: toy", "use: Bench/toy").replace("use: dice", "use: bench/dice")
    _, resolved = load_resolved(write(text), overrides=["monitors=[bench/clock]"], registry=registry)

    assert resolved.model.record is registry.get("model", "toy").record
    assert (resolved.model.name, resolved.model.use, resolved.search.use) == ("toy", "bench/toy", "bench/dice")
    plain = to_plain(resolved)
    assert [plain[key]["use"] for key in ("model", "search", "execution")] == ["bench/toy", "bench/dice", "local"]
    assert plain["monitors"][0]["use"] == "bench/clock"
    _, again = load_resolved(write(json.dumps(plain)), registry=registry)
    assert to_plain(again) == plain


def test_a_component_listed_by_both_of_its_names_is_listed_twice(write: Any, small: str, registry: Registry) -> None:
    """Two consoles would print everything twice."""
    error = error_of(write(small), registry, "loggers=[console, bench/console]")

    assert str(error) == (
        "<command line>: loggers=[console, bench/console]: loggers.1: bench/console is the "
        "same component as console, listed twice with the same options"
    )


def test_a_clash_is_reported_at_the_name(write: Any, small: str, fake_plugin: Any, registry: Registry) -> None:
    """With both providers and a remedy; after that the other component is used."""
    from scalecore.plugins.registry import load_registry

    fake_plugin("rival", version="2.0", code=fake_plugin.model("toy", options="width: int = 4"))
    both = load_registry(path=[str(fake_plugin.root)])
    error = error_of(write(small), both)

    assert error.exit_code == ExitCode.PLUGIN
    assert str(error).endswith(
        "model 'toy' is provided by bench 1.0 and rival 2.0; choose one by writing bench/toy or rival/toy"
    )
    _, resolved = load_resolved(write(small.replace("use: toy", "use: rival/toy")), registry=both)
    assert (resolved.model.provider, resolved.model.options.width) == ("rival", 8)

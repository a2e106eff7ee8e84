"""`scalecore plugins`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scalecore import __version__


def test_the_list_has_status_reason_and_components(invoke: Any, mine: str, fake_plugin: Any) -> None:
    """Usable plugins list their components, others their reason."""
    fake_plugin("zebra", version="0.1", code="raise SystemExit(1)")
    fake_plugin("zoo", version="2", requires=["scalecore>=5"])

    result = invoke("plugins")

    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("acme 1.2 "))
    assert lines[start].split() == ["acme", "1.2", "ok"]
    assert lines[start + 1 : start + 6] == [
        "    dataset: my-table",
        "    model: my-model",
        "    search: my-search",
        "    logger: my-logger",
        "    executor: my-rack",
    ]
    assert lines[-2].startswith("zebra 0.1 ")
    assert lines[-2].endswith("  broken: importing fake_zebra failed: it called sys.exit(1)")
    assert lines[-1].endswith(f"  incompatible: it requires scalecore >=5, but this is scalecore {__version__}")


def test_verbose_adds_summaries_places_and_tracebacks(invoke: Any, mine: str, fake_plugin: Any) -> None:
    """For authors of plugins."""
    fake_plugin("zebra", version="0.1", code="import no_such_module_xyz")

    output = invoke("plugins", "-v").stdout

    assert "    logger my-logger: A logger.\n" in output
    assert f"    entry point acme = fake_acme, in {fake_plugin.root}\n" in output
    assert "    | Traceback (most recent call last):\n" in output
    assert output.rstrip().endswith("| ModuleNotFoundError: No module named 'no_such_module_xyz'")


def test_verbose_names_a_slow_import(invoke: Any, fake_plugin: Any) -> None:
    """With the slowest dependency, since every command imports plugins."""
    folder = fake_plugin("heavy", version="1.0", code="import weighty")
    (folder / "weighty.py").write_text("import time\ntime.sleep(0.5)\n")

    output = invoke("plugins", "-v", "--no-plugins").stdout
    assert "slow import" not in output.partition("heavy 1.0")[2], "it is left out"
    output = invoke("plugins", "-v").stdout.partition("heavy 1.0")[2]

    assert re.search(
        r"^    slow import: [0-9.]+ s, [0-9.]+ s of it for weighty; "
        r"import it inside the factory, since every command imports plugins$",
        output,
        re.MULTILINE,
    )


def test_json_has_the_same_content(invoke: Any, mine: str, fake_plugin: Any) -> None:
    """For programs."""
    by_name = {plugin["distribution"]: plugin for plugin in json.loads(invoke("plugins", "--json").stdout)}

    assert by_name["acme"] == {
        "name": "acme",
        "module": "fake_acme",
        "distribution": "acme",
        "version": "1.2",
        "location": str(fake_plugin.root),
        "status": "ok",
        "reason": None,
        "components": [
            {"kind": "dataset", "name": "my-table", "use": "my-table", "summary": "A table.", "conflict": False},
            {"kind": "model", "name": "my-model", "use": "my-model", "summary": "A model.", "conflict": False},
            {"kind": "search", "name": "my-search", "use": "my-search", "summary": "A search.", "conflict": False},
            {"kind": "logger", "name": "my-logger", "use": "my-logger", "summary": "A logger.", "conflict": False},
            {"kind": "executor", "name": "my-rack", "use": "my-rack", "summary": "A rack.", "conflict": False},
        ],
    }


def test_conflicts_are_shown(invoke: Any, mine: str, fake_plugin: Any) -> None:
    """A component of two plugins is reported before it is used."""
    fake_plugin("rival", version="7", code=fake_plugin.model("my-model"))

    assert invoke("plugins").stdout.splitlines()[-1] == (
        "conflict: model 'my-model' is provided by acme 1.2 and rival 7; "
        "choose one by writing acme/my-model or rival/my-model"
    )


def test_blocked_plugins_are_listed_as_such(invoke: Any, mine: str) -> None:
    """--block and --no-plugins show in the list."""
    assert "acme 1.2" in invoke("plugins", "--block", "acme").stdout
    assert "blocked: excluded by --block acme" in invoke("plugins", "--block", "acme").stdout
    assert "blocked: excluded by --no-plugins" in invoke("plugins", "--no-plugins").stdout


def test_blocking_a_typo_is_refused(invoke: Any, mine: str) -> None:
    """A distribution that is not installed cannot be excluded."""
    result = invoke("plugins", "--block", "akme")

    assert result.exit_code == 2
    assert result.stderr.startswith("--block akme: no such distribution has a scalecore plugin; installed: scalecore")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schema", "--json"], "--schema cannot be combined with --json or --verbose"),
        (["--schema", "-v"], "--schema cannot be combined with --json or --verbose"),
        (["--output", "a.json"], "--output requires --schema"),
    ],
)
def test_the_schema_excludes_other_outputs(arguments: list[str], message: str, invoke: Any) -> None:
    """A command line with two outputs is refused, and nothing is written."""
    done = invoke("plugins", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith(f"Error: {message}\n")
    assert not Path("a.json").exists()


def test_the_schema_is_printed_with_plugins(invoke: Any, mine: str) -> None:
    """The schema accepts a file that uses an installed plugin, but not without that plugin."""
    tree = {
        "name": "mine",
        "dataset": "my-table",
        "model": "my-model",
        "search": {"use": "my-search"},
        "execution": {"use": "my-rack", "slots_per_rack": 4},
        "loggers": ["my-logger"],
    }
    validator = jsonschema.Draft202012Validator

    assert validator(json.loads(invoke("plugins", "--schema").stdout)).is_valid(tree)
    assert not validator(json.loads(invoke("plugins", "--schema", "--block", "acme").stdout)).is_valid(tree)
    assert Path(mine).exists()

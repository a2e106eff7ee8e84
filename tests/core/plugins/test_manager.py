"""Importing a plugin and calling its hooks: its errors affect only itself and are reported in plain words."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from scalecore import __version__
from scalecore.plugins.discovery import Plugin, Status
from scalecore.plugins.registry import load_registry

RECORDS = "from scalecore import hookimpl\nfrom scalecore.api.components import *\n"
MODEL = 'ModelRecord(name="toy", summary="A toy.", factory=print)'


def load(fake_plugin: Any, code: str) -> Plugin:
    """Load the only plugin, with this code."""
    fake_plugin("acme", version="1.0", module="acme_under_test", code=code)
    (plugin,) = load_registry(path=[str(fake_plugin.root)]).plugins
    return plugin


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module_xyz", "ModuleNotFoundError: No module named 'no_such_module_xyz' (FILE, line 1)"),
        ("\n1 / 0", "ZeroDivisionError: division by zero (FILE, line 2)"),
        ("raise SystemExit(3)", "it called sys.exit(3)"),
        ("import sys; sys.exit()", "it called sys.exit()"),
        ("raise ValueError", "ValueError (FILE, line 1)"),
    ],
)
def test_a_failing_import_makes_the_plugin_broken(fake_plugin: Any, code: str, reason: str) -> None:
    """The reason is the error with the file and line of the plugin; so is leaving the interpreter."""
    plugin = load(fake_plugin, code)

    file = str(fake_plugin.root / "acme_under_test.py")
    expected = "importing acme_under_test failed: " + reason.replace("FILE", file)
    assert (plugin.status, plugin.reason) == (Status.BROKEN, expected)
    assert plugin.details is not None
    assert "Traceback" in plugin.details


@pytest.mark.parametrize(
    ("code", "what", "line"),
    [
        ("from scalecore.records import ModelRecord", "scalecore.records", 1),
        ("\nimport scalecore.hookspecs", "scalecore.hookspecs", 2),
        ("from scalecore.study.following import Follower", "scalecore.study.following", 1),
        ("from scalecore.api.errors import RetiredError", "RetiredError from scalecore.api.errors", 1),
        ("from scalecore import retired", "retired from scalecore", 1),
        (
            "from scalecore import hookimpl\n@hookimpl\ndef scalecore_models(): import scalecore.trials",
            "scalecore.trials",
            3,
        ),
    ],
)
def test_a_plugin_for_another_scalecore_is_incompatible(fake_plugin: Any, code: str, what: str, line: int) -> None:
    """Its requirement may have no upper limit: then its imports show it, also those in its hooks."""
    plugin = load(fake_plugin, code)

    file = fake_plugin.root / "acme_under_test.py"
    expected = f"it imports {what}, which scalecore {__version__} does not have ({file}, line {line})"
    assert (plugin.status, plugin.reason) == (Status.INCOMPATIBLE, expected)
    assert plugin.details is not None
    assert "Traceback" in plugin.details


def test_a_syntax_error_is_reported_with_its_text(fake_plugin: Any) -> None:
    """A module that does not compile is broken."""
    plugin = load(fake_plugin, "def (:")

    assert plugin.status is Status.BROKEN
    assert plugin.reason is not None
    assert plugin.reason.startswith(
        "importing acme_under_test failed: SyntaxError: invalid syntax (acme_under_test.py, line 1)"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "@hookimpl\ndef scalecore_modles(): return []",
            "it defines scalecore_modles, which is not a hook; did you mean scalecore_models?",
        ),
        (
            "def scalecore_logger(): return []",
            "it defines scalecore_logger, which is not a hook; did you mean scalecore_loggers?",
        ),
        (
            "@hookimpl\ndef on_start(): pass",
            "it defines on_start, which is not a hook; the hooks are scalecore_datasets, scalecore_models, "
            "scalecore_search_strategies, scalecore_loggers, scalecore_hardware_monitors, scalecore_executors, "
            "scalecore_analyses, scalecore_trainers",
        ),
        ("def scalecore_models(): return []", "scalecore_models lacks the decorator @hookimpl"),
        (
            "@hookimpl(wrapper=True)\ndef scalecore_models(): return (yield)",
            "scalecore_models wraps the hooks of other plugins; a plugin may only add its own records",
        ),
        (
            "@hookimpl\ndef scalecore_models(): pass",
            "scalecore_models returned nothing instead of records; is a `return` missing?",
        ),
        (
            f"@hookimpl\ndef scalecore_models(): return {MODEL}",
            "scalecore_models returned a ModelRecord instead of a list of ModelRecord",
        ),
        (
            "@hookimpl\ndef scalecore_models(): return 'toy'",
            "scalecore_models returned a str instead of a list of ModelRecord",
        ),
        (
            f"@hookimpl\ndef scalecore_loggers(): return [{MODEL}]",
            "scalecore_loggers returned a ModelRecord, but each item must be a LoggerRecord",
        ),
        (
            "@hookimpl\ndef scalecore_executors(): return [3]",
            "scalecore_executors returned an int, but each item must be an ExecutorRecord",
        ),
        (
            f"@hookimpl\ndef scalecore_models(): return [{MODEL}, {MODEL}]",
            "scalecore_models offers the model 'toy' twice",
        ),
        (
            "@hookimpl\ndef scalecore_models(): return [ModelRecord(name='a toy', summary='A toy.', factory=print)]",
            "scalecore_models: the name 'a toy' of a ModelRecord may contain only letters, digits, `-`, `_`, `.`",
        ),
        (
            "@hookimpl\ndef scalecore_models(): return [ModelRecord(name='toy', summary='', factory=print)]",
            "scalecore_models: the model 'toy' has no summary of one sentence",
        ),
        (
            "@hookimpl\ndef scalecore_models(): return [ModelRecord(name='toy', summary='A toy.', factory='toy.py')]",
            "scalecore_models: the factory of the model 'toy' cannot be called",
        ),
        (
            "@hookimpl\ndef scalecore_models():\n"
            "    return [ModelRecord(name='toy', summary='A toy.', options=dict, factory=print)]",
            "scalecore_models: the options of the model 'toy' must be an attrs class, not a dict",
        ),
        (
            "import attrs\n@attrs.frozen\nclass Options:\n    use: str\n"
            "@hookimpl\ndef scalecore_models():\n"
            "    return [ModelRecord(name='toy', summary='A toy.', options=Options, factory=print)]",
            "scalecore_models: Options has an option `use`, but this key names the component",
        ),
        (
            "import attrs\n@attrs.frozen\nclass Options:\n    trials: int = 3\n"
            "@hookimpl\ndef scalecore_search_strategies():\n"
            "    return [SearchStrategyRecord(name='toy', summary='A toy.', options=Options, factory=print)]",
            "scalecore_search_strategies: Options has an option `trials`, which could never be set: in the experiment "
            "file this key belongs to the study; rename the option",
        ),
        (
            "import attrs\n@attrs.frozen\nclass Options:\n    hidden: int = 3\n"
            "@hookimpl\ndef scalecore_models():\n"
            "    return [ModelRecord(name='toy', summary='A toy.', options=Options, factory=print, grid=('width',))]",
            "scalecore_models: the grid of the model 'toy' contains `width`, which is not an option of Options",
        ),
        (
            "import attrs\n@attrs.frozen\nclass Options:\n    size: 'Missing'\n"
            "@hookimpl\ndef scalecore_models():\n"
            "    return [ModelRecord(name='toy', summary='A toy.', options=Options, factory=print)]",
            "scalecore_models: the types of Options cannot be resolved (name 'Missing' is not defined); do not use "
            "`from __future__ import annotations` or `if TYPE_CHECKING` imports in modules with options",
        ),
    ],
)
def test_a_wrong_hook_makes_the_plugin_broken(fake_plugin: Any, code: str, reason: str) -> None:
    """Names, decorators and return values of hooks are checked, and the reason has a remedy."""
    plugin = load(fake_plugin, RECORDS + code)

    assert (plugin.status, plugin.reason) == (Status.BROKEN, reason)


@pytest.mark.parametrize("raised", ["KeyError('shape')", "SystemExit(1)"])
@pytest.mark.parametrize("body", ["raise {raised}", f"yield {MODEL}\n    raise {{raised}}"])
def test_a_hook_that_raises_makes_the_plugin_broken(fake_plugin: Any, raised: str, body: str) -> None:
    """Also a generator, which raises after the call of its hook."""
    plugin = load(fake_plugin, f"{RECORDS}@hookimpl\ndef scalecore_models():\n    {body.format(raised=raised)}")

    assert plugin.status is Status.BROKEN
    assert plugin.reason is not None
    assert plugin.reason.startswith("KeyError: 'shape' (" if raised.startswith("Key") else "it called sys.exit(1)")


def test_a_hook_with_arguments_is_refused_by_pluggy(fake_plugin: Any) -> None:
    """pluggy checks the signature."""
    plugin = load(fake_plugin, f"{RECORDS}@hookimpl\ndef scalecore_models(config): return []")

    assert plugin.status is Status.BROKEN
    assert plugin.reason is not None
    assert plugin.reason.startswith("PluginValidationError: Plugin 'acme_under_test' for hook 'scalecore_models'")


def test_generators_tuples_and_renamed_hooks_are_accepted(fake_plugin: Any) -> None:
    """Any iterable of records is accepted, and `specname` names the hook of a function with another name."""
    code = f"{RECORDS}@hookimpl(specname='scalecore_models')\ndef models():\n    yield {MODEL}\n"
    code += "@hookimpl\ndef scalecore_loggers(): return ()\n"
    fake_plugin("acme", module="acme_under_test", code=code)

    registry = load_registry(path=[str(fake_plugin.root)])

    assert registry.names("model") == ("toy",)


def test_an_imported_module_is_not_taken_for_a_hook(fake_plugin: Any) -> None:
    """A plugin may import a package whose name begins with scalecore_."""
    code = f"import sys, types\nscalecore_acme = types.ModuleType('scalecore_acme')\n{RECORDS}"

    assert load(fake_plugin, code).status is Status.OK


def test_an_invalid_entry_point_is_broken(fake_plugin: Any) -> None:
    """A value that is not the name of a module is reported."""
    fake_plugin("acme", module="not a module")

    (plugin,) = load_registry(path=[str(fake_plugin.root)]).plugins

    assert (plugin.status, plugin.reason) == (
        Status.BROKEN,
        "its entry point 'not a module' is not the name of a module",
    )


def test_a_broken_plugin_does_not_affect_others(fake_plugin: Any) -> None:
    """The plugins before and after it in the alphabet work."""
    fake_plugin("acme-a", code=fake_plugin.model("first"))
    fake_plugin("acme-b", code="import no_such_module_xyz")
    fake_plugin("acme-c", code=fake_plugin.model("last"))

    registry = load_registry(path=[str(fake_plugin.root)])

    assert [plugin.status for plugin in registry.plugins] == [Status.OK, Status.BROKEN, Status.OK]
    assert registry.names("model") == ("first", "last")


def test_a_broken_plugin_offers_no_components(fake_plugin: Any) -> None:
    """A plugin with one wrong hook offers nothing, not only its valid hooks."""
    code = (
        f"{RECORDS}@hookimpl\ndef scalecore_models(): return [{MODEL}]\n@hookimpl\ndef scalecore_loggers(): return [3]"
    )
    fake_plugin("acme", module="acme_under_test", code=code)

    registry = load_registry(path=[str(fake_plugin.root)])

    assert registry.names("model") == ()
    assert registry.plugins[0].claims == (("model", "toy"),)


def test_warnings_of_an_import_do_not_leak(fake_plugin: Any) -> None:
    """Warnings of a plugin are dropped at its import and in its hooks, even if it changes the filters."""
    code = (
        "import warnings\nwarnings.simplefilter('always')\nwarnings.warn('at import', DeprecationWarning)\n"
        f"{RECORDS}@hookimpl\ndef scalecore_models():\n    warnings.warn('in the hook')\n    return [{MODEL}]"
    )
    before = list(warnings.filters)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert load(fake_plugin, code).status is Status.OK

    assert seen == []
    assert list(warnings.filters) == before


def test_output_of_a_plugin_goes_to_stderr(fake_plugin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Output for programs contains nothing that a plugin prints."""
    load(fake_plugin, "print('hello from acme')")

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello from acme\n")


def test_a_real_interpreter_lists_a_broken_plugin(fake_plugin: Any, tmp_path: Path) -> None:
    """`scalecore plugins --json` in its own process reports a plugin that leaves the interpreter at import."""
    fake_plugin("acme", version="1.0", code="import os\nprint('noise')\nraise SystemExit('bye')")

    done = subprocess.run(
        [sys.executable, "-m", "scalecore", "plugins", "--json"],
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    (acme,) = [plugin for plugin in json.loads(done.stdout) if plugin["distribution"] == "acme"]
    assert (acme["status"], acme["reason"]) == ("broken", "importing fake_acme failed: it called sys.exit('bye')")

"""From a name to a component, or to the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore import __version__
from scalecore.api.errors import ExperimentError, PluginError
from scalecore.config.experiment import Execution, Search, Training, known_keys
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.registry import Registry, load_registry


def registry_of(fake_plugin: Any, **options: Any) -> Registry:
    """The registry of the plugins that the test wrote."""
    return load_registry(path=[str(fake_plugin.root)], **options)


def why_not(registry: Registry, kind: str, name: str) -> str:
    """The message for a component that does not exist."""
    with pytest.raises(PluginError) as caught:
        registry.get(kind, name)
    return str(caught.value)


def test_a_component_comes_with_its_provider(fake_plugin: Any) -> None:
    """A name in the experiment file leads to the record, the distribution and its version."""
    fake_plugin("acme", version="1.4", code=fake_plugin.model("toy"))

    found = registry_of(fake_plugin).get("model", "toy")

    assert (found.kind, found.name, found.provider, found.version, found.status) == (
        "model",
        "toy",
        "acme",
        "1.4",
        "ok",
    )
    assert found.record.summary == "A model of a test."


def test_every_hook_fills_its_kind(fake_plugin: Any) -> None:
    """Each of the eight hooks provides components of its kind."""
    code = "from scalecore import hookimpl\nfrom scalecore.api.components import *\n"
    for kind in KINDS.values():
        code += f"@hookimpl\ndef {kind.hook}():\n"
        more = ", worker='acme.worker'" if kind.name == "trainer" else ""
        code += f"    return [{kind.record.__name__}(name='my-{kind.name}', summary='One.', factory=print{more})]\n"
    fake_plugin("acme", code=code)

    registry = registry_of(fake_plugin)

    assert {kind: registry.names(kind) for kind in KINDS} == {kind: (f"my-{kind}",) for kind in KINDS}
    assert [one.name for one in registry.provided_by(registry.plugins[0])] == [f"my-{kind}" for kind in KINDS]


def test_the_keys_of_a_section_are_not_names_of_options() -> None:
    """A plugin whose strategy or executor has an option with such a name is refused."""
    assert KINDS["search"].taken == known_keys(Search)
    assert KINDS["executor"].taken == known_keys(Execution)
    assert KINDS["trainer"].taken == known_keys(Training)


def test_one_name_in_two_kinds_is_no_conflict(fake_plugin: Any) -> None:
    """A model and a logger may share a name."""
    code = fake_plugin.model("toy") + "\nfrom scalecore.api.components import LoggerRecord\n"
    code += "@hookimpl\ndef scalecore_loggers(): return [LoggerRecord(name='toy', summary='One.', factory=print)]"
    fake_plugin("acme", code=code)

    registry = registry_of(fake_plugin)

    assert registry.get("model", "toy").record is not registry.get("logger", "toy").record


def test_a_conflict_does_not_affect_other_components(fake_plugin: Any) -> None:
    """Two plugins that provide the same model are both `ok`, and their other components work."""
    logger = "\nfrom scalecore.api.components import LoggerRecord\n@hookimpl\ndef scalecore_loggers():\n"
    logger += "    return [LoggerRecord(name='ink', summary='One.', factory=print)]"
    fake_plugin("acme-one", code=fake_plugin.model("toy"))
    fake_plugin("acme-two", code=fake_plugin.model("toy") + logger)

    registry = registry_of(fake_plugin)

    assert [plugin.status for plugin in registry.plugins] == ["ok", "ok"]
    assert registry.get("logger", "ink").provider == "acme-two"


def test_a_conflict_names_all_providers_and_a_remedy(fake_plugin: Any) -> None:
    """The message lists the providers and the names to write; blocking all but one provider works too."""
    fake_plugin("acme-one", version="1.0", code=fake_plugin.model("toy"))
    fake_plugin("Acme_Two", version="2.0", code=fake_plugin.model("toy"))

    registry = registry_of(fake_plugin)

    assert why_not(registry, "model", "toy") == (
        "model 'toy' is provided by acme-one 1.0 and Acme_Two 2.0; choose one by writing acme-one/toy or acme-two/toy"
    )
    assert registry.names("model") == ("acme-one/toy", "acme-two/toy")
    assert registry.get("model", "acme-one/toy").version == "1.0"
    assert registry.get("model", "Acme_Two/toy").version == "2.0"
    assert registry_of(fake_plugin, block=["acme-one"]).get("model", "toy").provider == "Acme_Two"

    fake_plugin("third", version="3.0", code=fake_plugin.model("toy"))
    registry = registry_of(fake_plugin)
    assert why_not(registry, "model", "toy") == (
        "model 'toy' is provided by acme-one 1.0, Acme_Two 2.0 and third 3.0; "
        "choose one by writing acme-one/toy, acme-two/toy or third/toy"
    )
    assert registry.get("model", "third/toy").version == "3.0"


def test_a_component_may_always_be_named_with_its_distribution(fake_plugin: Any) -> None:
    """In any spelling of the distribution's name that installers accept."""
    fake_plugin("Acme.Tools", version="1.0", module="fake_tools", code=fake_plugin.model("toy"))

    registry = registry_of(fake_plugin)

    for name in ("toy", "acme-tools/toy", "Acme.Tools/toy", "ACME_tools/toy"):
        assert registry.get("model", name).provider == "Acme.Tools"
    assert registry.names("model") == ("toy",)


def test_a_distribution_without_the_component_lists_its_own(fake_plugin: Any) -> None:
    """Missing, unusable, not installed, or a package of this project that could be installed."""
    fake_plugin("acme", version="1.0", code=fake_plugin.model("toy"))
    fake_plugin("bad", version="2.0", code="raise ValueError('no')")

    registry = registry_of(fake_plugin)

    assert why_not(registry, "model", "acme/tow") == "there is no model 'acme/tow': the models of acme 1.0 are toy"
    assert why_not(registry, "search", "acme/toy") == (
        "there is no search 'acme/toy': the search strategies of acme 1.0 are none"
    )
    assert why_not(registry, "model", "bad/toy").startswith("there is no model 'bad/toy': bad 2.0 is broken: importing")
    assert why_not(registry, "model", "/toy") == (
        "there is no model '/toy': no distribution '' has a scalecore plugin; installed: acme, bad"
    )
    assert why_not(registry, "model", "scalecore-patchtst/patchtst") == (
        "there is no model 'scalecore-patchtst/patchtst': `pip install scalecore-patchtst` provides it"
    )


def test_a_stored_name_is_that_of_this_projects_own_package(fake_plugin: Any) -> None:
    """A model that was retrained before another package used its name must be found."""
    fake_plugin("scalecore-patchtst", version="0.1.0", code=fake_plugin.model("patchtst"))
    fake_plugin("acme", version="1.0", code=fake_plugin.model("patchtst"))

    registry = registry_of(fake_plugin)

    assert registry.default("model", "patchtst").provider == "scalecore-patchtst"
    assert registry.default("model", "acme/patchtst").provider == "acme"
    with pytest.raises(PluginError):
        registry.get("model", "patchtst")


def test_a_component_that_one_distribution_provides_twice_is_refused(fake_plugin: Any) -> None:
    """Two entry points with one component: only its author can fix it."""
    fake_plugin("acme", version="1.0", entry_point="a", module="fake_one", code=fake_plugin.model("toy"))
    (fake_plugin.root / "fake_two.py").write_text(fake_plugin.model("toy"))
    points = fake_plugin.root / "acme-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + "b = fake_two\n")

    registry = registry_of(fake_plugin)

    text = (
        "model 'toy' is provided by acme 1.0, by the entry points a of acme and b of acme; "
        "report this to its author, or exclude it with --block acme"
    )
    assert why_not(registry, "model", "toy") == why_not(registry, "model", "acme/toy") == text
    assert registry.components("model") == ()


def test_a_component_of_a_broken_plugin_has_the_reason_of_the_plugin(fake_plugin: Any) -> None:
    """Its claims are known although it is broken."""
    code = fake_plugin.model("toy") + "\n@hookimpl\ndef scalecore_loggers(): pass"
    fake_plugin("acme", version="1.0", code=code)

    assert why_not(registry_of(fake_plugin), "model", "toy") == (
        "model 'toy' is provided by acme 1.0, which is broken: "
        "scalecore_loggers returned nothing instead of records; is a `return` missing?"
    )


def test_a_component_of_an_unusable_package_has_its_reason(fake_plugin: Any) -> None:
    """For an installed but unusable package of this project, the message is not `pip install`."""
    fake_plugin("scalecore-patchtst", version="0.1.0", requires=["scalecore>=7"])

    assert why_not(registry_of(fake_plugin), "model", "patchtst") == (
        "model 'patchtst' is provided by scalecore-patchtst 0.1.0, which is incompatible: "
        f"it requires scalecore >=7, but this is scalecore {__version__}"
    )


def test_a_component_of_a_blocked_package_says_so(fake_plugin: Any) -> None:
    """The user sees the option that excluded the plugin."""
    fake_plugin("scalecore-optuna", version="0.1.0", code=fake_plugin.model("toy"))

    assert why_not(registry_of(fake_plugin, no_plugins=True), "search", "architectural") == (
        "search 'architectural' is provided by scalecore-optuna 0.1.0, which is blocked: excluded by --no-plugins"
    )


@pytest.mark.parametrize(
    ("kind", "name", "package"),
    [
        ("model", "patchtst", "scalecore-patchtst"),
        ("search", "architectural", "scalecore-optuna"),
        ("monitor", "thermal", "scalecore-hwmon"),
        ("monitor", "memory", "scalecore-hwmon"),
        ("dataset", "market", "scalecore-market"),
        ("logger", "mlflow", "scalecore-trackers"),
        ("analysis", "coverage", "scalecore-analysis"),
        ("analysis", "report", "scalecore-analysis"),
        ("analysis", "cross-budget", "scalecore-analysis"),
    ],
)
def test_a_package_that_is_not_installed_is_named(fake_plugin: Any, kind: str, name: str, package: str) -> None:
    """The message for a known component has the command that installs it."""
    assert why_not(registry_of(fake_plugin), kind, name) == (
        f"{kind} {name!r} is not installed; `pip install {package}` provides it"
    )


def test_a_component_that_moved_to_another_package_is_found(fake_plugin: Any) -> None:
    """`scalecore/NAME` of an earlier version refers to it, installed or not."""
    assert why_not(registry_of(fake_plugin), "analysis", "scalecore/cross-budget") == (
        "there is no analysis 'scalecore-analysis/cross-budget': `pip install scalecore-analysis` provides it"
    )
    code = "from scalecore import hookimpl\nfrom scalecore.api.components import AnalysisRecord\n"
    code += "@hookimpl\ndef scalecore_analyses():\n"
    code += "    return [AnalysisRecord(name='cross-budget', summary='Moved.', factory=print)]\n"
    fake_plugin("scalecore-analysis", code=code)
    assert registry_of(fake_plugin).get("analysis", "scalecore/cross-budget").provider == "scalecore-analysis"


def test_a_misspelt_name_suggests_the_nearest_and_lists_all(fake_plugin: Any) -> None:
    """The suggestion corrects a typo."""
    fake_plugin("acme", code=fake_plugin.model("transformer"))

    assert why_not(registry_of(fake_plugin), "model", "transfromer") == (
        "there is no model 'transfromer' (did you mean 'transformer'?); installed models: transformer"
    )


def test_an_unknown_name_lists_broken_plugins(fake_plugin: Any) -> None:
    """A plugin that cannot be imported may provide the name, so its reason is shown."""
    fake_plugin("acme", version="1.0", code="raise SystemExit")

    assert why_not(registry_of(fake_plugin), "search", "zzz") == (
        "there is no search 'zzz'; installed search strategies: none. It may belong to a plugin that cannot be used: "
        "acme 1.0 is broken: importing fake_acme failed: it called sys.exit()"
    )


def test_blocking_a_missing_distribution_is_an_error(fake_plugin: Any) -> None:
    """Otherwise a typo in --block would keep the plugin."""
    fake_plugin("acme")

    with pytest.raises(ExperimentError) as caught:
        registry_of(fake_plugin, block=["akme"])

    assert str(caught.value) == "--block akme: no such distribution has a scalecore plugin; installed: acme"


def test_an_empty_environment_has_an_empty_registry(fake_plugin: Any) -> None:
    """Missing plugins are an error only when a component is needed."""
    registry = registry_of(fake_plugin)

    assert registry.plugins == ()
    assert why_not(registry, "executor", "local") == "there is no executor 'local'; installed executors: none"


@pytest.mark.parametrize("folder", ["acme-1.0.dist-info", "by_hand-1.0.dist-info"])
def test_one_distribution_is_loaded_without_importing_the_others(fake_plugin: Any, folder: str) -> None:
    """An attempt needs only the plugin of its model; a folder with another name than its distribution is found too."""
    fake_plugin("acme", code=fake_plugin.model("toy"))
    (fake_plugin.root / "acme-1.0.dist-info").rename(fake_plugin.root / folder)
    fake_plugin("other", code="raise SystemExit('it must not be imported')" if folder.startswith("acme") else "")

    found = registry_of(fake_plugin, only="acme", block=["not-looked-for"])

    assert found.get("model", "toy").provider == "acme"
    listed = [plugin.distribution for plugin in found.plugins]
    assert listed == (["acme"] if folder.startswith("acme") else ["acme", "other"])

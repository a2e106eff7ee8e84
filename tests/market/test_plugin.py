"""The plugin is light, registers through the entry point, and accepts indicators of other plugins."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from scalecore import __version__
from scalecore.api.errors import ExitCode, PluginError, RefusedError
from scalecore.cli.main import main
from scalecore_market.bars import Bars
from scalecore_market.cli import data
from scalecore_market.dataset import MarketDataset
from scalecore_market.features import check_features, check_truncation, compute
from scalecore_market.indicators.registry import load_registry
from scalecore_market.options import MarketOptions

Prices = Callable[..., Any]
HEAVY = ("torch", "numpy", "pandas", "pyarrow", "talib", "yfinance", "scipy", "optuna")


def test_importing_the_commands_imports_nothing_heavy() -> None:
    """In a new interpreter. The contract checks the plugin and its options."""
    check = f"import scalecore_market.cli, sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_commands_are_those_of_scalecore_data(tmp_path: Path) -> None:
    """The core mounts them: messages are plain, and the exit code is that of the error."""
    listed = CliRunner().invoke(main, ["data", "indicators", "--tier", "vix"])
    assert (listed.exit_code, len(listed.stdout.splitlines())) == (0, 9)
    missing = CliRunner().invoke(main, ["data", "verify", "--store", str(tmp_path / "none")])
    assert (missing.exit_code, missing.stderr) == (
        int(ExitCode.DATA),
        f"{tmp_path / 'none'}: there is no such store; `scalecore data ingest` creates one\n",
    )


EXTENSION = """
def market_indicators():
    import numpy as np
    from scalecore_market.indicators.base import Indicator

    return [
        Indicator(
            name="body",
            formula="close - open",
            inputs=("open", "close"),
            look_back=0,
            warm_up=0,
            source="numpy",
            function=lambda bars: bars.close - bars.open,
        ),
        Indicator(
            name="peek",
            formula="next close",
            inputs=("close",),
            look_back=0,
            warm_up=0,
            source="numpy",
            function=lambda bars: np.append(bars.close[1:], bars.close[-1]),
        ),
    ]


def market_tiers():
    return {"candles": ["open", "close", "body"]}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Installs a plugin distribution of one module: its entry point is in the group `scalecore`."""

    def do(name: str, code: str, requires: str = "scalecore") -> None:
        folder = tmp_path / "site"
        info = folder / f"{name}_plugin-1.2.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}_module.py").write_text(code)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.2\nRequires-Dist: {requires}\n"
        )
        (info / "entry_points.txt").write_text(f"[scalecore]\n{name} = {name}_module\n")
        monkeypatch.syspath_prepend(folder)

    return do


def test_a_plugin_adds_indicators_and_a_tier(
    install: Callable[[str, str], None], prices: Prices, tmp_path: Path
) -> None:
    """The experiment names the plugin, and can then use its tier and indicators."""
    install("candle", EXTENSION)
    prices(60).to_csv(tmp_path / "SPY.csv")
    options = MarketOptions(
        symbol="SPY",
        file=tmp_path / "SPY.csv",
        tier=["candles", "sma_12"],
        extensions=["candle"],
        warm_up="own",
    )
    panel = MarketDataset(options).panel()
    assert panel.features == ("open", "close", "body", "sma_12")
    np.testing.assert_array_equal(panel.values[:, 2], panel.values[:, 1] - panel.values[:, 0])
    assert panel.details["indicators"][2]["provider"] == "candle-plugin 1.2"
    output = CliRunner().invoke(data, ["indicators", "--tier", "candles", "--extension", "candle"]).output
    assert [line.split()[0] for line in output.splitlines()] == ["name", "open", "close", "body"]


def test_g51_an_indicator_of_a_plugin_that_looks_ahead_is_refused(
    install: Callable[[str, str], None], prices: Prices, tmp_path: Path
) -> None:
    """Indicators of plugins are checked by truncation before a study uses them and before they are stored."""
    install("candle", EXTENSION)
    prices(60).to_csv(tmp_path / "SPY.csv")
    options = MarketOptions(
        symbol="SPY", file=tmp_path / "SPY.csv", tier=["close", "peek"], extensions=["candle"], warm_up="own"
    )
    with pytest.raises(RefusedError, match=r"^SPY\.csv: peek looks ahead: .+ \[G51\]$"):
        MarketDataset(options).panel()
    store = str(tmp_path / "store")
    CliRunner().invoke(data, ["ingest", str(tmp_path / "SPY.csv"), "--store", store])
    result = CliRunner().invoke(data, ["build", "SPY", "--tier", "peek", "--extension", "candle", "--store", store])
    assert isinstance(result.exception, RefusedError)
    assert not (tmp_path / "store" / "processed.json").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1", "broken-plugin 1.2: the plugin 'broken' has no market_indicators() and no market_tiers()"),
        (
            "import no_such_module",
            "broken-plugin 1.2: the extension 'broken' of the dataset market is broken: ModuleNotFoundError: No module "
            "named 'no_such_module'",
        ),
        (
            EXTENSION.replace('name="body"', 'name="close"'),
            "broken-plugin 1.2: the indicator close already exists (scalecore-market); rename it",
        ),
        (
            EXTENSION.replace('"candles"', '"a25"'),
            "broken-plugin 1.2: the tier a25 already exists; rename it",
        ),
        (
            EXTENSION.replace('["open", "close", "body"]', '["boddy"]'),
            "broken-plugin 1.2: the tier candles names boddy, which is not an indicator",
        ),
    ],
)
def test_a_broken_extension_is_named_with_its_distribution(
    code: str, message: str, install: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the distribution and the error; nothing is loaded silently."""
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    install("broken", code)
    with pytest.raises(PluginError) as caught:
        load_registry(["broken"])
    assert str(caught.value) == message


def test_an_extension_for_another_scalecore_is_refused_before_its_import(install: Callable[..., None]) -> None:
    """With the status of `scalecore plugins`."""
    install("candle", "raise RuntimeError", "scalecore<0.2,>=0.1")
    with pytest.raises(PluginError) as caught:
        load_registry(["candle"])
    assert str(caught.value) == (
        "dataset.extensions: candle-plugin 1.2 is incompatible: it requires scalecore <0.2,>=0.1, but this is "
        f"scalecore {__version__}"
    )


def _readme(language: str) -> str:
    """The README's only block in this language."""
    text = (Path(__file__).parents[2] / "packages" / "scalecore-market" / "README.md").read_text()
    (block,) = re.findall(rf"```{language}\n(.+?)```", text, flags=re.DOTALL)
    return str(block)


def test_the_indicator_of_the_readme_works(spy: Bars) -> None:
    """The indicator is causal, and a boolean as declared."""
    namespace: dict[str, Any] = {}
    exec(_readme("python"), namespace)
    indicators = namespace["market_indicators"]()
    check_truncation(indicators, spy, name="SPY")
    check_features(compute(indicators, spy, name="SPY"), indicators, start=1, name="SPY")


def test_the_experiment_of_the_readme_is_checked(bundled: Path, tmp_path: Path) -> None:
    """Every option in it exists."""
    dataset = _readme("yaml").replace("data/", f"{bundled}/")
    (tmp_path / "experiment.yaml").write_text(
        f"name: readme\n{dataset}model: linear\nsearch: {{use: random, trials: 1}}\n"
    )
    result = CliRunner().invoke(main, ["check", str(tmp_path / "experiment.yaml")])
    assert result.exit_code == 0, result.output
    assert "market (scalecore-market" in result.output


def test_an_extension_that_is_not_installed_is_named() -> None:
    """The message has the command that lists installed plugins."""
    with pytest.raises(PluginError) as caught:
        load_registry(["candel"])
    assert str(caught.value) == (
        "dataset.extensions: plugin 'candel' is not installed; `scalecore plugins` lists the installed ones"
    )

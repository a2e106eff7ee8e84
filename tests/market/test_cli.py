"""The output of the commands `scalecore data ...`, and the errors with their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scalecore.api.errors import DataError, ExitCode, ExperimentError, RefusedError, ScalecoreError
from scalecore.cli.main import main
from scalecore_market.cli import data

Prices = Callable[..., Any]


def run(*arguments: object) -> Result:
    # With the settings that it runs with: click keeps a command's help option from its first call on.
    return CliRunner().invoke(data, [str(argument) for argument in arguments], **main.context_settings)


def failed(result: Result, kind: type[ScalecoreError], code: ExitCode) -> str:
    assert isinstance(result.exception, kind)
    assert result.exception.exit_code == code
    return str(result.exception)


@pytest.fixture
def files(prices: Prices, tmp_path: Path) -> tuple[Path, Path]:
    spy, vix = tmp_path / "spy_daily.csv", tmp_path / "VIX.parquet"
    prices(500).to_csv(spy)
    prices(500, seed=1, base=20.0).to_parquet(vix)
    return spy, vix


def test_ingest_build_list_and_verify(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The commands in order, with their output."""
    spy, vix = files
    store = tmp_path / "store"
    assert run("ingest", f"SPY={spy}", vix, "--store", store).output == (
        "SPY.OHLCV.daily  version 1  500 rows  2001-01-02 .. 2002-12-02  new\n"
        "VIX.OHLCV.daily  version 1  500 rows  2001-01-02 .. 2002-12-02  new\n"
    )
    assert "unchanged" in run("ingest", f"SPY={spy}", "--store", store).output
    built = "SPY.dataset.a25.vix  version 1  33 columns  500 rows  2001-01-02 .. 2002-12-02  trusted from 2002-09-18  "
    assert run("build", "SPY", "--vix", "--store", store).output == f"{built}new\n"
    assert run("build", "SPY", "--vix", "--store", store).output == f"{built}unchanged\n"
    lines = run("list", "--store", store).output.splitlines()
    assert lines[0].startswith("SPY.OHLCV.daily      version 1     500 rows  2001-01-02 .. 2002-12-02  sha256:")
    assert lines[0].endswith("from spy_daily.csv")
    assert lines[2].endswith("33 columns from SPY.OHLCV.daily version 1, VIX.OHLCV.daily version 1")
    content = json.loads(run("list", "--json", "--store", store).output)
    assert [entry["name"] for entry in content["processed"]] == ["SPY.dataset.a25.vix"]
    assert run("verify", "--store", store).output == f"{store}: 3 tables, no problems\n"


def test_g52_verify_ends_with_the_exit_code_of_data(files: tuple[Path, Path], tmp_path: Path) -> None:
    """All problems are listed, then the command fails."""
    store = tmp_path / "store"
    run("ingest", f"SPY={files[0]}", "--store", store)
    (store / "raw" / "SPY.OHLCV.daily.v1.parquet").rename(store / "raw" / "old.parquet")
    assert failed(run("verify", "--store", store), DataError, ExitCode.DATA) == (
        f"raw/SPY.OHLCV.daily.v1.parquet: missing\nraw/old.parquet: orphaned: not in a manifest\n{store}: 2 problems"
    )


def test_g52_changed_prices_take_register(files: tuple[Path, Path], prices: Prices, tmp_path: Path) -> None:
    """`ingest` refuses them, `register` adds the next version, `verify` reports sets built from older prices."""
    store = tmp_path / "store"
    run("ingest", f"SPY={files[0]}", "--store", store)
    run("build", "SPY", "--tier", "close", "--tier", "sma_12", "--name", "mine", "--store", store)
    frame = prices(500)
    frame.iloc[7, 4] *= 1.001
    frame.to_csv(files[0])
    message = failed(run("ingest", f"SPY={files[0]}", "--store", store), RefusedError, ExitCode.REFUSED)
    assert message.startswith(
        "spy_daily.csv: the prices differ from SPY.OHLCV.daily version 1: Adj Close changed in 1 rows, first on "
        "2001-01-11 from "
    )
    assert run("register", f"SPY={files[0]}", "--store", store).output == (
        "SPY.OHLCV.daily  version 2  500 rows  2001-01-02 .. 2002-12-02  new\n"
    )
    assert run("verify", "--store", store).output == (
        "note: processed/SPY.dataset.mine.v1.parquet: built from SPY.OHLCV.daily version 1, the newest is 2\n"
        f"{store}: 3 tables, no problems\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest"], "scalecore data ingest: name at least one file, or --download SYMBOL"),
        (["register"], "scalecore data register: name one file, or --download SYMBOL"),
        (["ingest", "A=x y.csv", "--start", "2001"], "--start: '2001' is not a date such as 1999-03-10"),
        (["build", "SPY", "--tier", "a26"], "dataset.tier: there is no tier or indicator 'a26'; did you mean 'a25'?"),
    ],
)
def test_a_wrong_command_line_is_reported(
    arguments: list[str], message: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """The exit code is that of a bad file or command line."""
    files[0].rename(tmp_path / "x y.csv")
    arguments = [part.replace("x y.csv", str(tmp_path / "x y.csv")) for part in arguments]
    assert failed(run(*arguments, "--store", tmp_path / "store"), ExperimentError, ExitCode.BAD_FILE) == message


def test_two_files_for_one_symbol_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The choice between them would be ambiguous."""
    result = run("ingest", f"SPY={files[0]}", f"SPY={files[1]}", "--store", tmp_path / "store")
    assert failed(result, ExperimentError, ExitCode.BAD_FILE) == (
        "scalecore data ingest: SPY appears twice; write SYMBOL=FILE to give the files different symbols"
    )


def test_a_path_may_contain_an_equals_sign(files: tuple[Path, Path], tmp_path: Path) -> None:
    """An existing file is used as is; otherwise the text before the first `=` is the symbol."""
    (tmp_path / "a=b").mkdir()
    files[1].rename(tmp_path / "a=b" / "VIX.parquet")
    output = run("ingest", tmp_path / "a=b" / "VIX.parquet", "--store", tmp_path / "store").output
    assert output.startswith("VIX.OHLCV.daily  version 1")


def test_ingest_reads_a_range_of_dates(files: tuple[Path, Path], tmp_path: Path) -> None:
    """`--start` and `--end` are inclusive; a range without rows is an error."""
    store = tmp_path / "store"
    result = run("ingest", f"SPY={files[0]}", "--store", store, "--start", "2001-06-01", "--end", "2001-06-29")
    assert result.output == "SPY.OHLCV.daily  version 1  21 rows  2001-06-01 .. 2001-06-29  new\n"
    nothing = run("ingest", f"QQQ={files[0]}", "--store", store, "--start", "2031-01-01")
    assert failed(nothing, DataError, ExitCode.DATA) == (
        "spy_daily.csv: there are no rows from 2031-01-01 to 2002-12-02"
    )


def test_indicators_are_listed_with_their_declarations() -> None:
    """As a table for people, as JSON for programs."""
    lines = run("indicators", "--tier", "a25").output.splitlines()
    assert len(lines) == 26
    assert lines[6].split()[:5] == ["dema_9", "26", "42", "recursive", "TA-Lib"]
    content = json.loads(run("indicators", "--json").output)
    assert len(content) == 113
    assert content[0] == {
        "name": "open",
        "formula": "open as quoted",
        "inputs": ["open"],
        "look_back": 0,
        "warm_up": 0,
        "memory": "window",
        "kind": "number",
        "source": "raw",
        "provider": "scalecore-market",
    }

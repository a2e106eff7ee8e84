"""`scalecore init` writes a valid file, whatever the table."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalecore.config.source import parse

ROWS = 1600


@pytest.fixture
def table() -> pd.DataFrame:
    """Names that YAML would read as other types, a text column, classes in the last column."""
    draw = np.random.default_rng(0)
    walk = np.cumsum(draw.normal(size=ROWS))
    columns = {"yes": walk, "a: b": walk * 2, "# c": draw.normal(size=ROWS), "name": "q", "1e3": np.arange(ROWS) % 2}
    return pd.DataFrame({"Day": pd.date_range("2015-01-01", periods=ROWS), **columns})


def written(name: str = "mine.yaml") -> dict[str, Any]:
    root: dict[str, Any] = parse(Path(name).read_text(), source=name).root
    return root


def works(invoke: Any, name: str = "mine.yaml") -> None:
    """The file passes the check, and its data can be planned."""
    for command in ("check", "plan"):
        done = invoke(command, name, "--no-plugins")
        assert (done.exit_code, done.stderr) == (0, "")


def test_the_written_file_runs_unchanged(invoke: Any) -> None:
    """Without any data: a table of synthetic prices is written next to it."""
    done = invoke("init", "mine.yaml", "--no-plugins")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        "mine.yaml: written for prices, from 2,000 rows of example-prices.csv\n"
        "example-prices.csv: synthetic prices (a random walk); replace them with your own data\n"
        "scalecore.schema.json: the JSON Schema for editors, named in the first line of mine.yaml\n"
        "next: scalecore check mine.yaml; scalecore plan mine.yaml; scalecore run mine.yaml\n"
    )
    assert Path("mine.yaml").read_text().startswith("# yaml-language-server: $schema=scalecore.schema.json\n")
    works(invoke)
    short = ["search.trials=1", "training.hyperparameters={epochs: 1, warmup_steps: 5}", "loggers=[files]"]
    assert invoke("run", "mine.yaml", "--no-plugins", *short).exit_code == 0


@pytest.mark.parametrize(
    ("name", "form", "read"),
    [
        ("a b/t, u.csv", {"index": False}, None),
        ("t.csv", {"index": False, "sep": ";", "decimal": ","}, {"separator": ";", "decimal": ","}),
        ("t.tsv", {"index": False, "sep": "\t"}, {"separator": "tab"}),
        ("t.csv", {"index": False, "date_format": "%d.%m.%Y"}, {"date_format": "%d.%m.%Y"}),
        # Only one of both forms of this hint fits all rows.
        ("t.csv", {"index": False, "date_format": "%m/%d/%Y"}, {"date_format": "%m/%d/%Y"}),
        ("t.csv.gz", {"index": False}, None),
    ],
)
def test_the_format_of_a_text_file_is_detected(
    invoke: Any, table: pd.DataFrame, name: str, form: dict[str, Any], read: dict[str, Any] | None
) -> None:
    """The time column, separators and dates are detected; names are quoted if necessary."""
    Path(name).parent.mkdir(exist_ok=True)
    table.to_csv(name, **form)
    done = invoke("init", "mine.yaml", "--no-plugins", "--data", name)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[1] == "column 'name' skipped: not numbers"
    dataset = written()["dataset"]
    assert {key: dataset.get(key) for key in ("path", "time", "read", "features", "target")} == {
        "path": name,
        "time": "Day",
        "read": read,
        "features": ["yes", "a: b", "# c"],
        "target": {"kind": "label", "column": "1e3", "horizon": 1},
    }
    works(invoke)


def test_parquet_files_and_folders_are_read(invoke: Any, table: pd.DataFrame) -> None:
    """With times in a column or in the index, and in parts."""
    table.to_parquet("t.parquet")
    table.set_index("Day").to_parquet("i.parquet")
    Path("parts").mkdir()
    table[:800].to_parquet("parts/a.parquet")
    table[800:].to_parquet("parts/b.parquet")
    for number, (name, time) in enumerate((("t.parquet", "Day"), ("i.parquet", None), ("parts", "Day"))):
        assert invoke("init", f"{number}.yaml", "--no-plugins", "--data", name).exit_code == 0
        assert written(f"{number}.yaml")["dataset"].get("time") == time
        assert written(f"{number}.yaml")["name"] == str(number), "text that looks like a number stays text"
        works(invoke, f"{number}.yaml")


def test_the_purpose_comes_from_the_table_or_an_option(invoke: Any, table: pd.DataFrame) -> None:
    """Prices if there is a close, a table of classes, a forecast of numbers; each can be requested."""
    table["close"] = 100 + table["yes"] % 7
    table.to_csv("t.csv", index=False)
    closes = {"columns": {"close": "close"}}
    for arguments, target in (
        ((), {"kind": "direction", "horizon": 1, **closes}),
        (("--purpose", "forecast"), {"kind": "forward_return", "horizon": 1, **closes}),
        (("--label", "1e3"), {"kind": "label", "column": "1e3", "horizon": 1}),
        (("--label", "yes"), {"kind": "label", "column": "yes", "horizon": 1, "task": "forecast"}),
    ):
        done = invoke("init", "mine.yaml", "--no-plugins", "--data", "t.csv", "--force", *arguments)
        assert done.exit_code == 0, done.stderr
        dataset = written()["dataset"]
        assert dataset["target"] == target
        assert target.get("column") not in dataset["features"]
        works(invoke)


def test_rows_and_columns_without_numbers_are_skipped(invoke: Any, table: pd.DataFrame) -> None:
    """A column with a gap, and the first rows of features over a rolling window; the output lists them."""
    table.loc[100, "# c"] = np.nan
    table["a: b"] = table["yes"].rolling(50).mean()
    table.to_csv("t.csv", index=False)
    done = invoke("init", "mine.yaml", "--no-plugins", "--data", "t.csv")
    assert done.exit_code == 0, done.stderr
    assert "column '# c' skipped: no number in row 100\n" in done.stdout
    assert written()["dataset"]["start"] == "2015-02-19"
    assert written()["dataset"]["features"] == ["yes", "a: b"]
    works(invoke)


def test_it_overwrites_only_with_force(invoke: Any) -> None:
    """A dangling link counts as a file."""
    Path("mine.yaml").write_text("mine\n")
    Path("link.yaml").symlink_to("nowhere")
    for name in ("mine.yaml", "link.yaml"):
        refused = invoke("init", name, "--no-plugins")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr == f"{name} already exists; choose another name, or overwrite it with --force\n"
    assert Path("mine.yaml").read_text() == "mine\n"
    assert invoke("init", "mine.yaml", "--no-plugins", "--force").exit_code == 0
    assert Path("mine.yaml").read_text() != "mine\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--data", "none.csv"), 2, "none.csv: there is no such file\n"),
        (("--label", "zzz"), 2, "FOLDER/example-prices.csv: there is no label column 'zzz'; expected one of Open, "
         "High, Low, Close, Volume\n"),
        (("--data", "words.csv"), 4, "FOLDER/words.csv: no numeric column found\n"),
        (("--data", "times.csv"), 4, "FOLDER/times.csv: no time column found; set dataset.time. The "
         "columns are a, b\n"),
        (("--data", "both.csv"), 4, "FOLDER/both.csv: the time of row 0 is '01/02/2020', which is not an ISO 8601 date "
         "such as 2019-01-02; set the date format: read: {date_format: '%m/%d/%Y' or '%d/%m/%Y'}\n"),
        (("--data", "times.csv.gz"), 4, "FOLDER/times.csv.gz cannot be read as CSV; it may be truncated or of another "
         "type: decompression failed (Compressed file ended before the end-of-stream marker was reached)\n"),
        (("--purpose", "prices", "--data", "label.csv"), 2, "label.csv: --purpose prices needs a column Close with "
         "positive numbers\n"),
        (("--data", "label.csv"), 2, "label.csv: no numeric column remains for features besides the label 'a'\n"),
        (("--model", "linear"), 2, "the option --model of the command 'init' was removed in 0.2: name the component in "
         "the file that init writes; `scalecore plugins` lists the installed ones\n"),
    ],
)  # fmt: skip
def test_an_error_leaves_no_files(
    invoke: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Each error has one message, and no file is left, not even synthetic prices."""
    Path("words.csv").write_text("Date,a\n2020-01-01,x\n")
    Path("times.csv").write_text("a,b\n1,2\n")
    Path("both.csv").write_text("Date,a\n01/02/2020,1\n02/03/2020,2\n")
    Path("label.csv").write_text("Date,a\n2020-01-01,1\n2020-01-02,0\n")
    Path("times.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n")[:-9])
    before = {*Path().iterdir()}
    done = invoke("init", "mine.yaml", "--no-plugins", *arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", message.replace("FOLDER", str(tmp_path)))
    assert {*Path().iterdir()} == before


def test_overrides_are_refused_and_folders_not_created(invoke: Any) -> None:
    """KEY=VALUE, which 0.1 accepted, is not a file name."""
    done = invoke("init", "search.trials=3", "--no-plugins")
    assert done.exit_code == 2
    assert done.stderr.endswith(
        "FILE is search.trials=3, but init accepts no KEY=VALUE; edit the written file instead\n"
    )
    done = invoke("init", "nowhere/mine.yaml", "--no-plugins")
    assert (done.exit_code, done.stderr) == (2, "nowhere: there is no such folder\n")
    assert list(Path().iterdir()) == []

"""`scalecore init`: the file that it writes is right as it stands, and every comment in it is true."""

from __future__ import annotations

import gzip
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scalecore.config.load import load_resolved, to_plain
from scalecore.config.source import parse
from scalecore.plugins.registry import load_registry

OPTION = re.compile(r"^(\s*)#(?=[a-z])", re.MULTILINE)
ALONE = ("--no-plugins", "--dataset", "parquet")


def test_it_runs_as_it_is_written(invoke: Any) -> None:
    """From nothing at all: the file passes the check, and its data is there to plan with."""
    done = invoke("init", "mine.yaml", "--no-plugins")

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        "mine.yaml: written; every option stands in it with its meaning\n"
        "scalecore.schema.json: the JSON Schema that its first line names, for editors\n"
        "example-prices.csv: made-up prices, a random walk; put your own data in its place\n"
        "look at what dataset parquet requires: path, features, target\n"
        "next: scalecore check mine.yaml; scalecore plan mine.yaml; scalecore run mine.yaml\n"
    )
    assert Path("mine.yaml").read_text().startswith("# yaml-language-server: $schema=scalecore.schema.json\n")
    checked = invoke("check", "mine.yaml", "--no-plugins")
    assert (checked.exit_code, checked.stderr) == (0, "")
    planned = invoke("plan", "mine.yaml", "--no-plugins")
    assert (planned.exit_code, planned.stderr) == (0, "")


FAMILY = """\
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.options import option
from scalecore.api.components import ModelRecord
from scalecore.api.space import ArchitectureSpace

@frozen(kw_only=True)
class Options:
    sizes: tuple[int, ...] = option({sizes}, help="Sizes of the grid.")

class Family:
    def __init__(self, options):
        self.options = options

    def architecture_space(self, data):
        sizes = self.options.sizes
        return ArchitectureSpace(dimensions={{"n": sizes}}, architectures=tuple({{"n": size}} for size in sizes))

    def num_parameters(self, architecture, data):
        return architecture["n"]

@hookimpl
def scalecore_models():
    return [ModelRecord(name="mine", summary="Mine.", options=Options, factory=Family, grid=("sizes",))]
"""


@pytest.mark.parametrize(
    ("sizes", "budget"),
    [
        ((10, 1000), None),
        ((1000, 1_900_000, 2_600_000), "budget: 2M"),
        ((1000, 7_123_456, 10**9), "budget: 7100000"),
    ],
)
def test_the_budget_is_one_that_the_model_has(
    invoke: Any, fake_plugin: Any, sizes: tuple[int, ...], budget: str | None
) -> None:
    """2M, or the size nearest to it; none where all shapes are smaller."""
    fake_plugin("acme", version="1.2", code=FAMILY.format(sizes=sizes))
    done = invoke("init", "mine.yaml", "--model", "mine", "--dataset", "parquet")
    assert done.exit_code == 0, done.stderr
    lines = [line.strip() for line in Path("mine.yaml").read_text().splitlines()]
    assert [line for line in lines if line.startswith("budget:")] == ([] if budget is None else [budget])


def test_every_default_in_a_comment_is_the_default(invoke: Any) -> None:
    """Whoever removes the `#` of every option has the same experiment, and every option is there with its help."""
    assert invoke("init", *("mine.yaml", *ALONE, "--logger", "csv", "--analysis", "cross-budget")).exit_code == 0
    text = Path("mine.yaml").read_text()
    Path("all.yaml").write_text(OPTION.sub(r"\1", text))
    registry = load_registry(no_plugins=True)

    short, whole = (load_resolved(name, registry=registry)[1] for name in ("mine.yaml", "all.yaml"))
    assert to_plain(short) == to_plain(whole)
    assert leaves({**to_plain(whole), "plugins": []}) == leaves(
        parse(Path("all.yaml").read_text(), source="all.yaml").root
    )
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if OPTION.match(line) and not line.strip().startswith("#use:"):
            assert lines[number - 1].strip().startswith("# "), line


def leaves(value: Any) -> Any:
    """The keys of nested mappings, without the values."""
    if isinstance(value, dict):
        return {key: leaves(one) for key, one in value.items()}
    return [leaves(one) for one in value] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def test_what_is_chosen_and_set_stands_in_the_file(invoke: Any) -> None:
    """Components by their options, single keys by KEY=VALUE, features and target by the columns of the data."""
    Path("bars.csv").write_text("day,close,volume,name\n2020-01-01,1.5,3e5,a\n")
    done = invoke("init", "mine.yaml", *ALONE, "--data", "bars.csv", "--strategy", "random", "search.trials=7")

    assert done.exit_code == 0, done.output
    assert not Path("example-prices.csv").exists()
    tree = parse(Path("mine.yaml").read_text(), source="mine.yaml").root
    assert tree["dataset"] == {
        "use": "parquet",
        "path": "bars.csv",
        "features": ["close", "volume"],
        "target": {"kind": "direction", "columns": {"close": "close"}},
    }
    assert tree["search"] == {
        "use": "random",
        "trials": 7,
        "space": {"learning_rate": {"log_uniform": [0.0001, 0.001]}},
    }
    assert tree["loggers"] == [{"use": "console"}, {"use": "files"}, {"use": "csv"}]


def test_it_overwrites_nothing_unasked(invoke: Any) -> None:
    """`--force` is needed for that."""
    Path("mine.yaml").write_text("mine\n")
    refused = invoke("init", "mine.yaml", *ALONE)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "mine.yaml exists already; give another name, or --force to overwrite it\n"
    assert Path("mine.yaml").read_text() == "mine\n"
    assert invoke("init", "mine.yaml", *ALONE, "--force").exit_code == 0
    assert Path("mine.yaml").read_text() != "mine\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("mine.yaml", "--dataset", "parquet", "search.trials=0"),
            2,
            "nothing is written: some options have no value that would do without you, or a wrong one; give them as "
            "KEY=VALUE\n"
            "  mine.yaml:*: search.trials: must be at least 1, got 0\n",
        ),
        (("mine.yaml", "--model", "linaer", "--no-plugins"), 3, "there is no model 'linaer'*did you mean 'linear'?*"),
        (("mine.yaml", "--data", "none.csv", "--dataset", "parquet"), 2, "none.csv: there is no such file\n"),
        (
            ("mine.yaml", *ALONE, "search.bugdet=2M", "traning.schedule=linear"),
            2,
            "nothing is written: some options have no value that would do without you, or a wrong one; give them as "
            "KEY=VALUE\n"
            "  <command line>: traning.schedule=linear: traning: unknown key; did you mean 'training'?\n"
            "  <command line>: search.bugdet=2M: unknown key; did you mean 'budget'?\n",
        ),
        (
            ("mine.yaml", *ALONE, "sweep={search.budget: [2M]}"),
            2,
            "sweep cannot be set here; write it into the file\n",
        ),
        *(
            (
                ("mine.yaml", *ALONE, text),
                2,
                f"{text.partition('=')[0].partition('.')[0]}: components are chosen by --{option} NAME, and KEY=VALUE "
                "sets their options\n",
            )
            for text, option in (
                ("loggers.3=csv", "logger"),
                ("loggers=[console]", "logger"),
                ("analyses.0=report", "analysis"),
                ("monitors=5", "monitor"),
                ("model=linear", "model"),
                ("search.use=architectural", "strategy"),
                ("execution=local", "executor"),
            )
        ),
        (("nowhere/mine.yaml",), 2, "nowhere: there is no such folder\n"),
        (("search.trials=3",), 2, "*name the file before search.trials=3: scalecore init experiment.yaml *\n"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(invoke: Any, arguments: Any, code: int, message: str) -> None:
    """Each mistake with its own message, and no file."""
    done = invoke("init", *arguments)

    assert (done.exit_code, done.stdout) == (code, "")
    assert re.fullmatch(".*".join(map(re.escape, message.split("*"))), done.stderr, re.DOTALL), done.stderr
    assert list(Path().iterdir()) == []


def test_options_that_need_a_person_get_a_value_of_their_form(invoke: Any, fake_plugin: Any) -> None:
    """Within their bounds; one that cannot be guessed is asked for."""
    lines = """size: Annotated[int, Ge(8), Le(64)] = option(help="How big.")
    kind: Literal["a", "b"] = option(help="Which.")
    parts: Annotated[list[str], MinLen(2)] = option(help="Some.")
    when: str = option(help="A day.")
    share: Annotated[float, Gt(0), Lt(1)] = option(help="A share.")

    def __attrs_post_init__(self):
        if self.when == "CHANGE-ME":
            raise ValueError("when: give a day")"""
    fake_plugin("acme", version="1.2", code=fake_plugin.model("odd", options=lines))

    refused = invoke("init", "mine.yaml", "--dataset", "parquet", "--strategy", "random", "--model", "odd")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[1].endswith(": model: when: give a day")
    arguments = ("mine.yaml", "--dataset", "parquet", "--strategy", "random", "--model", "odd", "model.when=2020-01-01")
    assert invoke("init", *arguments).exit_code == 0
    assert parse(Path("mine.yaml").read_text(), source="mine.yaml").root["model"] == {
        "use": "odd",
        "size": 8,
        "kind": "a",
        "parts": ["CHANGE-ME", "CHANGE-ME"],
        "when": "2020-01-01",
        "share": 0.5,
    }


def test_on_a_terminal_where_nothing_is_chosen_it_asks(tmp_path: Path) -> None:
    """What is answered is taken, what is not has its default; a wrong answer is asked again."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "scalecore", "init", "--no-plugins"]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=tmp_path)
    os.close(follower)
    os.write(leader, b"\n\n\nfiles, pigeon\nfiles, csv\n\n")
    seen = b""
    while process.poll() is None or b"next:" not in seen:
        try:
            seen += os.read(leader, 4096)
        except OSError:
            break
    os.close(leader)

    assert process.wait() == 0, seen
    assert b"there is no logger 'pigeon'; installed: console, csv, files" in seen
    tree = parse((tmp_path / "experiment.yaml").read_text(), source="experiment.yaml").root
    assert [tree[key]["use"] for key in ("dataset", "model", "search")] == ["parquet", "linear", "random"]
    assert tree["loggers"] == [{"use": "files"}, {"use": "csv"}]


def test_a_table_that_is_none_is_told(invoke: Any) -> None:
    """A cell longer than a reader of tables takes is no traceback."""
    Path("binary.csv").write_text("x" * 200_000)
    done = invoke("init", "mine.yaml", *ALONE, "--data", "binary.csv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "binary.csv: cannot be read as a table (field larger than field limit (131072))\n"


def test_text_that_looks_like_a_number_stays_text(invoke: Any) -> None:
    """A file may be called 1e3.yaml, and its name is text."""
    done = invoke("init", "1e3.yaml", *ALONE)
    assert (done.exit_code, done.stderr) == (0, "")
    assert parse(Path("1e3.yaml").read_text(), source="1e3.yaml").root["name"] == "1e3"


def test_a_packed_table_and_a_folder_of_parts_have_their_columns_named(invoke: Any) -> None:
    """As a plain file has; what cannot be read says why."""
    table = "Date,Close,size\n2020-01-01,1.5,3\n"
    Path("bars.csv.gz").write_bytes(gzip.compress(table.encode()))
    Path("parts").mkdir()
    pq.write_table(pa.table({"Date": ["2020-01-01"], "Close": [1.5], "size": [3]}), "parts/a.parquet")
    for name in ("bars.csv.gz", "parts"):
        assert invoke("init", f"{name}.yaml", *ALONE, "--data", name).exit_code == 0
        tree = parse(Path(f"{name}.yaml").read_text(), source=name).root
        assert tree["dataset"]["features"] == ["Close", "size"]
    Path("bars.csv").write_text(table.replace(",", ";"))
    done = invoke("init", "mine.yaml", *ALONE, "--data", "bars.csv")
    assert (done.exit_code, done.stderr) == (
        2,
        "bars.csv: the header is one cell, 'Date;Close;size': the separator is another one; write read: {separator: "
        "';'}\n",
    )

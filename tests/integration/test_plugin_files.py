"""Plugins in files (`plugins: [./my_model.py]`) in studies: changed, moved, in campaigns, and in retrained models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scalecore.cli.main import main

MODEL = """\
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.components import AnalysisRecord, ModelRecord
from scalecore.api.analysis import AnalysisResult
from scalecore.api.space import ArchitectureSpace


class Family:
    def __init__(self, options):
        pass

    def hyperparameters(self):
        return []

    def architecture_space(self, data):
        return ArchitectureSpace(dimensions={"width": (2, 4)}, architectures=({"width": 2}, {"width": 4}))

    def build(self, architecture, hyperparameters, data):
        from torch import nn

        width = architecture["width"]
        first = nn.Linear(data.context * data.features, width)
        return nn.Sequential(nn.Flatten(), first, nn.Linear(width, data.outputs))


class Count:
    def run(self, studies):
        return AnalysisResult(title="Count", tables={}, data={"trials": sum(len(study.trials) for study in studies)})


@hookimpl
def scalecore_models():
    return [ModelRecord(name="mine", summary="Mine.", factory=Family)]


@hookimpl
def scalecore_analyses():
    return [AnalysisRecord(name="count", summary="Counts.", factory=lambda options: Count())]
"""


def cli(*arguments: str | Path) -> Result:
    """Run a command in this process, without installed plugins; attempts are separate processes."""
    return CliRunner().invoke(main, [*map(str, arguments), "--no-plugins"], catch_exceptions=False)


def ok(*arguments: str | Path) -> str:
    done = cli(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def finished(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a study of two trials, the plugin below the experiment file."""
    folder = tmp_path_factory.mktemp("finished") / "a project"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "mine.py").write_text(MODEL)
    shutil.copy(bars, folder / f"bars{bars.suffix}")
    (folder / "e.yaml").write_text(f"""\
name: files
output: study
plugins: [./own/mine.py]
dataset: {{use: parquet, path: bars{bars.suffix}, features: [Close], target: {{kind: direction}}, context: 4}}
model: mine
search: {{use: random, trials: 2, space: {{learning_rate: {{log_uniform: [1e-4, 1e-2]}}}}}}
training: {{effective_batch: 64, threads: 1, hyperparameters: {{epochs: 1, warmup_steps: 5}}}}
loggers: [files]
""")
    ok("run", folder / "e.yaml")
    return folder


@pytest.fixture
def mine(finished: Path, tmp_path: Path) -> Path:
    """A moved copy of the project."""
    return shutil.copytree(finished, tmp_path / "moved")


def test_a_moved_project_continues(mine: Path) -> None:
    """With the plugin in its new place, through the experiment file or the folder; no code counts as changed."""
    ok("run", mine / "e.yaml", "search.trials=3")
    ok("run", mine / "study" / "experiment.yaml", "search.trials=4")
    assert len(list((mine / "study" / "trials").glob("*.json"))) == 4
    # In another folder the file is still the same plugin.
    (mine / "own" / "mine.py").rename(mine / "mine.py")
    ok("run", mine / "e.yaml", "search.trials=5", "plugins=[mine.py]")


def test_g26_a_changed_file_is_changed_code(mine: Path) -> None:
    """A resume needs `--allow-changed-code`; the records name both versions."""
    path = mine / "own" / "mine.py"
    path.write_text(f"{MODEL}\n# another thought\n")
    refused = cli("run", mine / "e.yaml", "search.trials=3")
    assert refused.exit_code == 5
    assert "the code changed since the study was last run" in refused.stderr
    ok("run", mine / "e.yaml", "search.trials=3", "--allow-changed-code")
    records = [json.loads(one.read_text()) for one in sorted((mine / "study" / "trials").glob("*.json"))]
    versions = [one["user_attrs"]["versions"]["mine.py"] for one in records]
    assert versions[0] == versions[1] != versions[2]


def test_g26_a_file_that_changes_while_a_study_runs_ends_it(mine: Path) -> None:
    """No trial is trained with another model than in its record, none fails, and the study can be resumed."""
    path = mine / "own" / "mine.py"
    switch = mine / "switch"
    text = MODEL.replace(
        "        from torch import nn\n",
        "        from torch import nn\n\n"
        f"        if os.path.exists({str(switch)!r}):\n"
        f"            open({str(path)!r}, 'a').write('# changed\\n')\n",
    )
    path.write_text(f"import os\n\n{text}")
    ok("run", mine / "e.yaml", "search.trials=3", "--allow-changed-code")
    kept = path.read_text()
    switch.touch()
    refused = cli("run", mine / "e.yaml", "search.trials=6")
    assert refused.exit_code == 5, refused.output
    assert f"{path} changed since the run began (SHA-256 " in refused.stderr
    switch.unlink()
    path.write_text(kept)
    ok("run", mine / "e.yaml", "search.trials=6")
    records = [json.loads(one.read_text()) for one in sorted((mine / "study" / "trials").glob("*.json"))]
    assert [one["state"] for one in records] == ["completed"] * 6


def test_a_study_whose_plugin_file_is_missing_can_be_read(mine: Path) -> None:
    """`status` and `verify` need no plugin; `run` names the missing file."""
    (mine / "own" / "mine.py").unlink()
    for command in ("status", "verify"):
        done = CliRunner().invoke(main, [command, str(mine / "study")])
        assert done.exit_code == 0, done.output
    done = cli("run", mine / "e.yaml", "search.trials=3")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[0] == (
        f"{mine}/e.yaml:3:11: plugins.0: {mine}/own/mine.py cannot be read (No such file or directory)"
    )


def test_an_analysis_of_the_studys_files_is_found(mine: Path) -> None:
    """`analyze NAME STUDY` finds an analysis of the study's files; any other name is reported as unknown."""
    assert ok("analyze", "count", mine / "study", "--no-files").startswith("# Count\n")
    unknown = cli("analyze", "cuont", mine / "study")
    assert unknown.exit_code == 3
    assert unknown.stderr.startswith("there is no analysis 'cuont' (did you mean 'count'?)")


def test_a_campaign_uses_the_files_in_each_study(mine: Path) -> None:
    """Its studies and analyses use the plugin."""
    text = (mine / "e.yaml").read_text().replace("output: study", "output: studies")
    (mine / "e.yaml").write_text(f"{text}sweep: {{dataset.context: [3, 5]}}\nanalyses: [count]\n")
    ok("run", mine / "e.yaml", "search.trials=1")
    result = mine / "studies" / "analyses" / "count" / "result.json"
    assert json.loads(result.read_text())["data"] == {"trials": 2}


def test_a_retrained_model_contains_its_plugin(mine: Path, tmp_path: Path) -> None:
    """`predict` needs only the model's folder, wherever it is, even if the project's file has changed."""
    ok("evaluate", mine / "study", "--quiet")
    (model,) = (mine / "study" / "promoted").iterdir()
    (mine / "own" / "mine.py").write_text("raise ValueError")
    alone = shutil.copytree(model, tmp_path / "model")
    (table,) = mine.glob("bars.*")
    assert len(ok("predict", alone, table, "--last", "3").splitlines()) == 4
    (alone / "mine.py").unlink()
    done = cli("predict", alone, table)
    assert done.exit_code == 3
    assert done.stderr.endswith(f"mine.py - is broken: {alone}/mine.py cannot be read (No such file or directory)\n")

"""Invalid input: one message with its position, a specific exit code, no traceback, and no overwritten file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from scalecore import __version__
from scalecore.store.layout import StudyFolder
from scalecore.study.run import locked_folder

from .conftest import Study


def refused(study: Study, *arguments: str, code: int) -> str:
    """Run, expect this exit code, and return the message."""
    return message_of(study.run(*arguments, code=code))


def foreseen(study: Study, *arguments: str, code: int) -> str:
    """Expect this exit code and message of `plan`, which prints the plan and writes nothing, and of `run`."""
    study.write()
    model = study.experiment["model"]
    stages = [
        f"reading {study.file}",
        *([f"reading the study in {study.folder}"] if StudyFolder(study.folder).journal.exists() else []),
        f"reading the data: dataset {study.experiment['dataset']['use']}",
        "preparing windows, targets and baselines",
        f"finding the architectures of model {model if isinstance(model, str) else model['use']}",
        "checking this machine",
        f"planning the trials: search {study.experiment['search'].get('use', 'architectural')}",
    ]
    planned = study.cli("plan", str(study.file), *arguments, code=code)
    message = message_of(planned)
    lines = planned.stdout.splitlines()
    assert lines[: len(stages)] == stages
    assert lines[len(stages)].startswith("plan of tiny: ")
    assert message == refused(study, *arguments, code=code)
    return message


def message_of(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr + done.stdout
    return done.stderr


@pytest.mark.parametrize(
    ("overrides", "code", "expected"),
    [
        (["search.trails=5"], 2, "unknown key"),
        (["search.budget=5B"], 2, "search.budget=5B: no architecture of the model has"),
        (["search.space={momentum: {uniform: [0, 1]}}"], 2, "unknown hyper-parameter 'momentum'"),
        (["model.use=resnet"], 3, "resnet"),
        (["dataset.features=[Close, Volumes]"], 4, "Volumes"),
        (["guards.min_validation_samples=100000"], 5, "fewer than guards.min_validation_samples: 100000"),
    ],
)
def test_bad_input_is_refused(study: Study, overrides: list[str], code: int, expected: str) -> None:
    """The message names the key or the column; nothing is trained."""
    assert expected in refused(study, *overrides, code=code)
    assert study.finished() == {}
    assert not study.folder.exists(), "the refused study left a folder"


def test_g22_a_folder_belongs_to_one_experiment(study: Study) -> None:
    """Another model in the same folder is refused with the differences; no file is overwritten."""
    study.run("search.trials=1")
    before = (study.folder / "journal.jsonl").read_bytes()
    message = foreseen(study, "search.trials=1", "training.effective_batch=32", code=5)
    assert "training.effective_batch: 64 -> 32" in message
    assert (study.folder / "journal.jsonl").read_bytes() == before


def test_g34_a_study_continues_with_another_search(study: Study) -> None:
    """Changes of grid, space, strategy and total are shown first and stored; past trials that still fit count."""
    study.run("search.trials=3")
    first = study.finished()
    study.experiment["model"]["n_layers"] = [2, 4, 8]
    study.experiment["training"]["hyperparameters"]["dropout"] = 0.2
    del study.experiment["search"]["space"]["dropout"]
    study.experiment["search"] |= {"trials": 4, "tolerance": 0.3, "inner": "random"}
    study.write()
    announced = study.cli("plan", str(study.file)).stdout
    done = study.run()
    head = done.stdout[: done.stdout.index("smoke step: ")]
    fit = [n for n, record in first.items() if 2800 <= record["architecture"]["num_parameters"] <= 5200]
    fit = [n for n in fit if first[n]["architecture"]["values"]["n_layers"] > 1]
    assert 0 < len(fit) < 3
    for line in (
        "  model.n_layers: [1, 2, 4] -> [2, 4, 8]",
        '  search.space.dropout: {"uniform": [0.1, 0.3]} -> null',
        "  search.trials: 3 -> 4",
        f"  {len(fit)} of 3 past trials still fit and count",
    ):
        assert line in head
        assert line in announced
    (change,) = (event for event in study.events() if event["event"] == "changed")
    assert sorted(map(int, change["left_out"])) == [n for n in first if n not in fit]
    assert len(study.finished()) == 3 + 4 - len(fit)
    assert {n: study.finished()[n] for n in first} == first
    counted = [record for n, record in study.finished().items() if str(n) not in change["left_out"]]
    assert all(record["architecture"]["values"]["n_layers"] > 1 for record in counted)
    assert study.json("tiny_4000_best.json")["best_trial"] not in map(int, change["left_out"])


def test_g34_the_strategy_may_change(study: Study) -> None:
    """A strategy of another package continues with the finished trials; the code is unchanged, so nothing is refused.

    A point that was tried keeps its hash and is not run again.
    """
    study.run("search.trials=1")
    study.experiment["search"] = {**study.experiment["search"], "use": "random", "trials": 2}
    del study.experiment["search"]["startup_trials"]
    done = study.run()
    assert '  search.use: "architectural" -> "random"' in done.stdout
    assert "  1 of 1 past trials still fit and count" in done.stdout
    assert sorted(study.finished()) == [0, 1]


def test_g52_changed_data_is_refused(study: Study, bars: Path) -> None:
    """Data that changed since the study began is refused, and the prepared data is not changed."""
    path = study.root / "mine.parquet"
    path.write_bytes(bars.read_bytes())
    study.experiment["dataset"]["path"] = str(path)
    study.run("search.trials=1")
    prepared = (study.folder / "data" / "values.npy").read_bytes()
    table = pd.read_parquet(path)
    table.iloc[10, 0] *= 1.5
    table["Close"] *= 1.001
    table.to_parquet(path)
    message = foreseen(study, "search.trials=2", code=5)
    assert "the data changed since the study began" in message
    assert (study.folder / "data" / "values.npy").read_bytes() == prepared
    assert sorted(study.finished()) == [0]
    shutil.rmtree(study.folder / "data")
    assert "the data changed" in refused(study, "search.trials=2", code=5), "the journal has no fingerprint"


def test_a_folder_with_other_files_is_refused(study: Study) -> None:
    """scalecore never writes into a folder with other files."""
    study.folder.mkdir(parents=True)
    (study.folder / "thesis.tex").write_text("important")
    message = foreseen(study, code=5)
    assert "this folder contains other files (thesis.tex) and no study" in message
    assert sorted(path.name for path in study.folder.iterdir() if not path.name.startswith(".")) == ["thesis.tex"]


def test_g22_the_plan_of_a_running_study_is_refused_like_a_run(study: Study) -> None:
    """The plan reports the refusal of a second runner, with the first one's process."""
    with locked_folder(StudyFolder(study.folder)) as lock:
        assert lock.still_ours()
        message = foreseen(study, code=5)
    assert f"this study is already running: process {os.getpid()} on " in message
    assert message.endswith("or give another `output`\n")


def test_plan_and_run_refuse_a_machine_that_is_too_small(study: Study) -> None:
    """A refusal by a monitor's preflight ends both with its reason."""
    study.experiment["monitors"] = [{"use": "memory", "min_free_gb": 100000, "warn_free_gb": 200000}]
    study.write()
    for command in ("plan", "run"):
        message = message_of(study.cli(command, str(study.file), code=5))
        assert message.startswith("the study was not started:\n  memory: only ")


def plugin(study: Study, name: str, module: str, body: str, *, version: str = "1.0", requires: str = "") -> None:
    """Install a fake distribution: a module and a hand-written .dist-info folder on PYTHONPATH."""
    folder = study.root / "site" / name
    folder.mkdir(parents=True)
    (folder / f"{module}.py").write_text(textwrap.dedent(body))
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    requirement = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirement}")
    (info / "entry_points.txt").write_text(f"[scalecore]\n{module} = {module}\n")
    study.path.append(str(folder))


LOGGER = """
    from scalecore import hookimpl
    from scalecore.api.logger import Logger
    from scalecore.api.components import LoggerRecord

    class Diary(Logger):
        def __init__(self, context):
            self.path = context.folder / "diary.txt"

        def trial_finished(self, record, study):
            {action}

    @hookimpl
    def scalecore_loggers():
        return [LoggerRecord(name="diary", summary="A diary.", factory=lambda options, context: Diary(context))]
"""
WRITE = 'self.path.open("a").write(f"{record.number} {record.value}\\n")'

STRATEGY = """
    from scalecore import hookimpl
    from scalecore.api.components import SearchStrategyRecord
    from scalecore.api.trials import Origin, Proposal

    class Smallest:
        def __init__(self, context):
            self.context = context
        def planned(self):
            return ()
        def restore(self, trials):
            pass
        def ask(self, number):
            {ask}
        def tell(self, number, outcome):
            pass
        def should_prune(self, number, *, epoch, value):
            return False

    @hookimpl
    def scalecore_search_strategies():
        return [SearchStrategyRecord(name="smallest", summary="One.", factory=lambda _, context: Smallest(context))]
"""
ASK = (
    "return Proposal(architecture=self.context.architectures[0], hyperparameters="
    "{n: d.at(number / 10) for n, d in self.context.space.items()}, origin=Origin(kind='sampled'))"
)


def with_strategy(study: Study, ask: str, *, trials: int) -> None:
    plugin(study, "scalecore-smallest", "scalecore_smallest", STRATEGY.format(ask=ask))
    study.experiment["search"] = {**study.experiment["search"], "use": "smallest", "trials": trials}
    del study.experiment["search"]["startup_trials"]


def test_a_logger_that_lacks_a_method_is_refused_before_the_study(study: Study) -> None:
    """Exit code 3; the message names the method and the distribution, and nothing is written."""
    plugin(study, "scalecore-diary", "scalecore_diary", LOGGER.format(action=WRITE).replace("(Logger)", ""))
    study.experiment["loggers"] = ["diary"]
    message = refused(study, code=3)
    assert message == (
        "logger 'diary' (scalecore-diary 1.0) cannot start: Diary has no study_started, trial_started, progress, "
        "epoch, message, take_remarks, study_finished, close; see the protocol scalecore.api.logger.Logger\n"
    )
    assert not study.folder.exists()


def test_a_logger_that_raises_when_it_is_closed_leaves_a_complete_study(study: Study) -> None:
    """Journal and status report it like a logger that raises earlier."""
    code = LOGGER.format(action=WRITE).replace("def trial_finished(self, record, study):", "def close(self):")
    plugin(study, "scalecore-diary", "scalecore_diary", code.replace(WRITE, "raise ValueError('locked')"))
    study.experiment["loggers"] = ["files", "diary"]
    study.run("search.trials=1")
    text = "degraded: logger 'diary' raised ValueError: locked; it is switched off, the study continues"
    assert text in study.cli("status", str(study.folder)).stdout.splitlines()


RIVALS = """
    from scalecore import hookimpl
    from scalecore.api.logger import Logger
    from scalecore.api.components import ExecutorRecord, LoggerRecord, SearchStrategyRecord

    @hookimpl
    def scalecore_search_strategies():
        return [SearchStrategyRecord(name="random", summary="Chance.", factory=lambda options, context: None)]

    @hookimpl
    def scalecore_loggers():
        return [LoggerRecord(name="files", summary="Paper.", factory=lambda options, context: Logger())]

    @hookimpl
    def scalecore_executors():
        return [ExecutorRecord(name="local", summary="Here.", factory=lambda options, context: None)]
"""


def test_a_plugin_component_may_have_the_name_of_a_core_component(study: Study) -> None:
    """A study that used the plain name continues with `distribution/name`, and its stored file can be run."""
    study.experiment["search"] = {"use": "random", "trials": 1, "budget": study.experiment["search"].get("budget")}
    del study.experiment["loggers"]
    study.run()
    before = study.finished()[0]
    plugin(study, "acme-rivals", "acme_rivals", RIVALS)
    assert refused(study, "search.trials=2", code=3).endswith(
        f"search 'random' is provided by scalecore {__version__} and acme-rivals 1.0; "
        "choose one by writing scalecore/random or acme-rivals/random\n"
    )
    study.experiment["search"]["use"] = "scalecore/random"
    study.run("search.trials=2")
    assert study.finished()[0] == before
    assert (study.folder / f"{study.experiment['name']}_all_trials.json").exists(), "the core's logger of that name"
    study.cli("run", str(study.folder / "experiment.yaml"), "search.trials=3", f"output={study.folder}")
    assert sorted(study.finished()) == [0, 1, 2]
    study.cli("verify", str(study.folder))


def test_a_logger_that_raises_is_switched_off_and_the_study_continues(study: Study) -> None:
    """It is reported once, the study is marked degraded and has every trial."""
    plugin(study, "scalecore-diary", "scalecore_diary", LOGGER.format(action='raise OSError("disk gone")'))
    study.experiment["loggers"] = ["console", "diary", "files"]
    done = study.run("search.trials=2")
    assert (
        done.stdout.count("warning: logger 'diary' raised OSError: disk gone; it is switched off, the study continues")
        == 1
    )
    assert "degraded: logger 'diary'" in done.stdout
    assert len(study.finished()) == 2


def test_a_strategy_that_raises_ends_the_run_and_keeps_everything(study: Study) -> None:
    """Exit code 6, the provider is named, finished trials are kept."""
    with_strategy(study, f"assert number < 1, 'tired'\n            {ASK}", trials=2)
    message = refused(study, code=6)
    assert (
        "strategy 'smallest' (scalecore-smallest 1.0) raised AssertionError: tired; everything finished is kept"
        in message
    )
    assert sorted(study.finished()) == [0]
    assert study.events()[-1]["end"] == "failed"


def test_g30_an_exact_duplicate_is_never_run(study: Study) -> None:
    """A strategy that repeats a point gets `duplicate_of`; the study ends when nothing new is proposed."""
    with_strategy(study, ASK.replace("number / 10", "0.5"), trials=3)
    done = study.run()
    assert sorted(study.finished()) == [0]
    assert "nothing new is left to try" in done.stdout
    assert "duplicates avoided: 200" in done.stdout


@pytest.mark.parametrize("by", ["requirement", "import"])
def test_a_study_with_an_incompatible_plugin_is_read_but_not_run(study: Study, by: str) -> None:
    """After an upgrade of scalecore alone, commands that need the plugin are refused; results stay readable."""
    with_model(study)
    study.run("search.trials=1")
    place = study.root / "site" / "scalecore-mlp"
    if by == "requirement":
        with (place / "scalecore_mlp-1.0.dist-info" / "METADATA").open("a") as file:
            file.write("Requires-Dist: scalecore<0.2,>=0.1\n")
        reason = f"it requires scalecore <0.2,>=0.1, but this is scalecore {__version__}"
    else:
        source = place / "scalecore_mlp.py"
        source.write_text(source.read_text().replace("scalecore.api.components", "scalecore.records"))
        reason = f"it imports scalecore.records, which scalecore {__version__} does not have ({source}, line 3)"
    assert f"scalecore-mlp 1.0 incompatible: {reason}" in [
        " ".join(line.split()) for line in study.cli("plugins").stdout.splitlines()
    ]
    for command in ("check", "plan", "run"):
        message = message_of(study.cli(command, str(study.file), "search.trials=2", code=3))
        assert message.count(reason) == 1
        assert message.endswith(f"scalecore-mlp 1.0 is incompatible: {reason}\n")
    message = message_of(study.cli("confirm", str(study.folder), "--top", "1", code=3))
    assert message.endswith(f"scalecore-mlp 1.0 is incompatible: {reason}\n")
    for command in ("status", "verify", "report"):
        study.cli(command, str(study.folder))


MODEL = """
    from scalecore import hookimpl
    from scalecore.api.components import ModelRecord
    from scalecore.api.space import ArchitectureSpace, Hyperparameter

    class Family:
        def hyperparameters(self):
            return (Hyperparameter(name="gain", default=1.0, low=0.0, high=2.0, help="Gain."),)
        def architecture_space(self, data):
            return ArchitectureSpace(dimensions={{"width": (2, 4)}}, architectures=({{"width": 2}}, {{"width": 4}}))
        def num_parameters(self, architecture, data):
            n = data.context * data.features
            return architecture["width"] * (n + 1) + architecture["width"] + 1
        def flops(self, architecture, data):
            return 2 * self.num_parameters(architecture, data)
        def saved_activations(self, architecture, data):
            return data.context * data.features + architecture["width"]
        def build(self, architecture, hyperparameters, data):
            from torch import nn
            {body}

    @hookimpl
    def scalecore_models():
        return [ModelRecord(name="mlp", summary="Two layers.", factory=lambda options: Family())]
"""
NET = (
    "nn.Sequential(nn.Flatten(), nn.Linear(data.context * data.features, {width}), "
    "nn.Tanh(), nn.Linear({width}, {outputs}))"
)
GOOD_NET = "hyperparameters['gain']; return " + NET.format(width="architecture['width']", outputs="data.outputs")


def with_model(study: Study, body: str = GOOD_NET, *, replace: tuple[str, str] = ("", "")) -> None:
    """Make the study search this model, with a part of its code replaced."""
    plugin(study, "scalecore-mlp", "scalecore_mlp", MODEL.format(body=body).replace(*replace))
    study.experiment["model"] = "mlp"
    study.experiment["search"] = {"use": "random", "trials": 2, "space": {"gain": {"uniform": [0.5, 1.5]}}}


def test_a_model_plugin_that_raises_while_planning_is_named(study: Study) -> None:
    """An error in a family's closed forms ends with exit code 3, the distribution and the error."""
    with_model(study, replace=("n = data.context * data.features", "n = data.rows"))
    message = refused(study, code=3)
    assert "model 'mlp' (scalecore-mlp 1.0) cannot list its architectures: AttributeError:" in message
    assert not study.folder.exists()


def without_closed_forms(study: Study, body: str) -> None:
    """The model without `num_parameters`, `flops` and `saved_activations`."""
    with_model(study, body)
    source = study.root / "site" / "scalecore-mlp" / "scalecore_mlp.py"
    code = source.read_text()
    for name in ("num_parameters", "flops", "saved_activations"):
        code = code.replace(f"def {name}", f"def _{name}")
    source.write_text(code.replace("return 2 * self.", "return 2 * self._"))


RECURRENT = """hyperparameters['gain']
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.LSTM(data.features, architecture["width"], batch_first=True)
                    self.head = nn.Linear(architecture["width"], data.outputs)
                def forward(self, x):
                    return self.head(self.layers(x)[0][:, -1])
            return Net()"""


def test_g04_a_family_without_closed_forms_is_counted(study: Study) -> None:
    """A recurrent family is counted exactly, in a separate process, and once for a study that is resumed."""
    without_closed_forms(study, RECURRENT)
    study.run("search.trials=1")
    sizes = {w: 4 * w * (2 + w + 2) + w + 1 for w in (2, 4)}
    record = study.finished()[0]
    width = record["architecture"]["values"]["width"]
    assert record["architecture"]["num_parameters"] == sizes[width]
    assert record["architecture"]["flops"] == 2 * (12 * 4 * width * (2 + width) + width)
    counted = [one for one in study.json("memory.json").values() if "counts" in one]
    study.run("search.trials=2")
    assert [one for one in study.json("memory.json").values() if "counts" in one] == counted
    planned = json.loads(study.cli("plan", str(study.file), "--json").stdout)["architectures"]["architectures"]
    assert {one["width"]: one["num_parameters"] for one in planned} == sizes


def test_a_family_that_cannot_be_counted_is_refused(study: Study) -> None:
    """The message has the exception of `build` and both remedies; nothing is written."""
    without_closed_forms(study, "raise KeyError('heads')")
    message = refused(study, code=3)
    assert message == (
        "model 'mlp' (scalecore-mlp 1.0) cannot be counted: KeyError: 'heads'; fix its `build`, or implement "
        "num_parameters, flops, saved_activations in the family\n"
    )
    assert not study.folder.exists()


def test_g04_a_size_that_depends_on_a_hyperparameter_is_refused(study: Study) -> None:
    """It is counted with the defaults, so a trial would have another size."""
    net = NET.format(width="int(8 * hyperparameters['gain'])", outputs="data.outputs")
    without_closed_forms(study, f"return {net}")
    study.experiment["search"]["space"] = {"gain": {"uniform": [1.5, 2.0]}}
    message = refused(study, code=5)
    assert "with its hyper-parameters at their defaults, for {'width': " in message
    assert "a parameter that changes the size must be a dimension of the architecture, not a hyper-parameter" in message


def test_g03_a_sampled_hyperparameter_that_nobody_reads_is_refused(study: Study) -> None:
    """The smoke step finds it before the first trial."""
    with_model(study, GOOD_NET.replace("hyperparameters['gain']; ", ""))
    message = refused(study, code=5)
    assert "search.space varies gain, which neither the training core nor the model reads" in message
    assert study.finished() == {}


def test_g04_a_model_of_the_wrong_size_is_refused(study: Study) -> None:
    """The built model is counted; a wrong formula ends the study in the smoke step."""
    with_model(study, "hyperparameters['gain']; return " + NET.format(width="8", outputs="data.outputs"))
    message = refused(study, code=5)
    assert "fix num_parameters() of the plugin" in message


def wrapped(forward: str) -> str:
    """The body of `build` for the good network, wrapped in a module with this `forward`."""
    net = NET.format(width="architecture['width']", outputs="data.outputs")
    lines = [
        "hyperparameters['gain']",
        "class Wrapped(nn.Module):",
        "    def __init__(self, net):",
        "        super().__init__()",
        "        self.net, self.calls = net, 0",
        "    def forward(self, x):",
        "        self.calls += 1",
        f"        {forward}",
        f"return Wrapped({net})",
    ]
    return "\n            ".join(lines)


def test_g11_a_head_of_the_wrong_size_is_refused(study: Study) -> None:
    """The task determines the head size; the smoke step finds a model that ignores `outputs`."""
    with_model(study, wrapped("return self.net(x).repeat(1, 3)"))
    message = refused(study, code=5)
    assert "the model returns (64, 3) for 64 windows, expected logits of shape (64, 1)" in message


def test_g10_a_model_that_returns_probabilities_is_refused(study: Study) -> None:
    """The smoke step finds a sigmoid at the end of the model, which would be applied twice."""
    with_model(study, wrapped("return self.net(x).sigmoid()"))
    message = refused(study, code=5)
    assert "the model returns probabilities: its outputs stay between 0 and 1 whatever its weights are" in message
    assert study.finished() == {}


def test_g36_a_diverged_trial_has_a_reason_and_no_value(study: Study) -> None:
    """A loss that is NaN in the second epoch ends the trial; only its learning curve is kept."""
    with_model(study, wrapped("return self.net(x) * (1.0 if self.calls < 16 else float('nan'))"))
    study.run("search.trials=1", code=6)
    record = study.finished()[0]
    assert record["state"] == "diverged"
    assert record["reason"].startswith("training loss is nan in epoch 2, step ")
    assert [record[name] for name in ("value", "best", "last", "predictions")] == [None] * 4
    assert [line["epoch"] for line in record["learning_curve"]] == [1]
    assert study.json("tiny_none_best.json")["best_trial"] is None


def test_g23_an_objective_that_is_not_measured_is_refused(study: Study) -> None:
    """It is refused before the data is read; the message lists the task's metrics."""
    message = refused(study, "objective.metric=sharpe", code=2)
    assert (
        "objective.metric=sharpe: 'sharpe' is not measured; the task binary measures accuracy, auc, brier, f1"
        in message
    )
    assert study.finished() == {}


def test_equal_failures_of_the_first_trials_end_the_study(study: Study) -> None:
    """Two equal failures before any success end the study with the cause and exit code 6."""
    curse = "if self.calls > 5: raise ValueError('the sixth batch is cursed')"
    with_model(study, wrapped(f"{curse}\n                    return self.net(x)"))
    study.experiment["search"]["trials"] = 5
    done = study.run(code=6)
    assert "the first trials failed in the same way: ValueError: the sixth batch is cursed" in done.stderr
    records = study.finished()
    assert [record["state"] for _, record in sorted(records.items())] == ["failed", "failed"]
    assert all(record["value"] is None for record in records.values())


def test_g26_changed_code_is_refused_unless_allowed(study: Study) -> None:
    """A resume detects an edited plugin; with the flag the study continues, and each record names its code."""
    with_model(study)
    study.run("search.trials=1")
    source = study.root / "site" / "scalecore-mlp" / "scalecore_mlp.py"
    source.write_text(source.read_text() + "\n# edited\n")
    message = foreseen(study, "search.trials=2", code=5)
    assert study.cli("plan", str(study.file), "search.trials=2", "--allow-changed-code").stderr == ""
    assert "the code changed since the study was last run (code " in message
    study.run("search.trials=2", "--allow-changed-code")
    records = study.finished()
    assert records[0]["versions"]["code"] != records[1]["versions"]["code"]


TIRED = """
class Tired(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0
    def forward(self, x):
        self.steps += self.training
        if self.steps > 20:
            raise ValueError("tired")
        return x
"""


def test_g38_a_study_whose_only_trial_failed_has_failed(study: Study) -> None:
    """Exit code 6; message, journal, status and console have counts and reason, also when it is run again."""
    with_model(study, GOOD_NET.replace("nn.Tanh()", "Tired()"))
    source = study.root / "site" / "scalecore-mlp" / "scalecore_mlp.py"
    code = source.read_text().replace("from torch import nn", "from scalecore_tired import nn, Tired")
    source.write_text(code)
    (source.parent / "scalecore_tired.py").write_text(f"from torch import nn\n{TIRED}")
    study.experiment["training"] |= {"effective_batch": 16, "micro_batch": 16}
    reason = (
        "none of 1 trials completed (1 failed), so the study has no result; trial 0: ValueError: tired. Increase "
        "search.trials to add trials; after fixing the cause, give another `output`"
    )
    for _ in range(2):
        done = study.run("search.trials=1", code=6)
        assert done.stderr == f"{reason}\n"
        assert f"reason: {reason}" in done.stdout.splitlines()
        ended = study.events()[-1]
        assert (ended["event"], ended["end"], ended["reason"]) == ("run_ended", "failed", reason)
        assert ended["counts"] == {"failed": 1}
    status = study.cli("status", str(study.folder)).stdout.splitlines()
    assert status[:2] == ["tiny: failed; 1 of 1 trials finished (1 failed)", f"reason: {reason}"]
    assert json.loads(study.cli("status", str(study.folder), "--json").stdout)["end_reason"] == reason

"""Attempts of the trainer `function` in this process: allowed values of `yield` and their effects."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from scalecore.api.errors import ChangedFileError, RefusedError
from scalecore.api.space import DataShape
from scalecore.api.training import Diverged
from scalecore.builtin.function_checkpoint import STATE, load_newest, save
from scalecore.builtin.function_trainer import FunctionSpec
from scalecore.builtin.function_worker import run_attempt
from scalecore.data.predictions import read_predictions
from scalecore.execution.attempt_control import AttemptMonitor
from scalecore.execution.folder import AttemptFolder
from scalecore.testing.attempts import attempt_in, plan_in
from scalecore.testing.function_files import MODEL, TRAIN

REGISTRY = {"no_plugins": True, "block": []}
Attempt = Callable[..., dict[str, Any]]


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """`attempt(code, values={...}, **sections)` runs a function with the body `code`, or `TRAIN`; `spec` changes fields
    of the spec."""

    def run(code: str | None = None, *, name: str = "a", values: Any = (), spec: Any = (), **sections: Any) -> Any:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "flat.py").write_text(MODEL)
        body = None if code is None else textwrap.indent(textwrap.dedent(code), "    ")
        (source / "train.py").write_text(TRAIN if body is None else f"def train(trial):\n{body}\n")
        training = {"use": "function", "target": "./train.py:train", "hyperparameters": {"epochs": 3}}
        training |= sections.pop("training", {})
        plan, _ = plan_in(
            source, {"plugins": ["./flat.py"], "model": "flat", **sections, "training": training}, registry=REGISTRY
        )
        given = {"learning_rate": 0.1, **dict(values)}
        registry = plan.resolved.registry(REGISTRY)
        folder = attempt_in(tmp_path / name, plan, data=source / "data", registry=registry, hyperparameters=given)
        made = folder.read_own_spec(FunctionSpec)
        made = spec(made) if callable(spec) else evolve(made, **dict(spec))
        return run_attempt(made, AttemptMonitor(folder, save=save))

    return run


def smoked(attempt: Attempt, code: str, **changes: Any) -> str:
    """The reason why the smoke step refuses a function."""
    with pytest.raises(RefusedError) as refused:
        attempt(code, spec={"mode": "smoke"}, **changes)
    return str(refused.value)


READ = "trial.hyperparameters['learning_rate']\n"


def test_loss_metrics_and_predictions_follow_from_outputs(attempt: Attempt, tmp_path: Path) -> None:
    """The core computes them; the predictions have the loss of the best epoch."""
    result = attempt()
    assert result["state"] == "completed"
    assert [line["epoch"] for line in result["learning_curve"]] == [1, 2, 3]
    assert {"val_loss", "accuracy", "auc", "brier", "train_loss", "train_seconds"} <= set(result["last"])
    kept = read_predictions(tmp_path / "a" / "predictions.npz")
    assert kept.losses().mean() == pytest.approx(result["value"], rel=1e-6)
    assert kept.about["epoch"] == result["best"]["epoch"]
    assert result["best"]["intervals"]["val_loss"]["low"] < result["value"]
    assert result["unread"] == []


def test_g18_too_few_windows_have_a_reason_and_no_interval(attempt: Attempt) -> None:
    """The best epoch names it beside the missing interval."""
    best = attempt(spec={"label_overlap": 1000})["best"]
    assert best["intervals"] == {"val_loss": None}
    assert best["without_interval"]["val_loss"].endswith("labels that span 1000 rows need 5000")
    assert "without_interval" not in attempt(name="b")["best"]


def test_a_loss_alone_suffices(attempt: Attempt) -> None:
    """numpy numbers are accepted; no predictions are stored."""
    result = attempt(
        "import numpy as np\nyield {'val_loss': np.float32(0.5), 'mine': 3}\n", training={"early_stopping": None}
    )
    assert (result["state"], result["value"], result["predictions"]) == ("completed", 0.5, None)
    assert result["best"]["mine"] == 3.0


def test_a_function_may_return_a_list_of_epochs(attempt: Attempt) -> None:
    """Any iterable works; the last epoch counts if the objective requires it."""
    result = attempt("return [{'val_loss': 0.5}, {'val_loss': 0.7}]", objective={"reduction": "last"})
    assert (result["epochs_ended"], result["value"], result["best"]["epoch"]) == (2, 0.7, 1)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("return 3", "train.py:train returned int; it must yield a mapping of metrics after each epoch"),
        ("yield 3", "train.py:train yielded int; it must yield a mapping of metrics"),
        (
            "yield {'accuracy': 0.5}",
            "train.py:train yields no val_loss: yield it, or the outputs of the validation windows as `outputs` [G23]",
        ),
        ("yield {'val_loss': 'low'}", "train.py:train yields val_loss as str: a metric must be one number"),
        ("yield {'val_loss': [1, 2]}", "train.py:train yields val_loss as list: a metric must be one number"),
        (
            "yield {'val_loss': 0.5, 'outputs': [0.0] * len(trial.data('val')[1])}",
            "train.py:train yields val_loss, which is computed from its outputs: remove it [G23]",
        ),
        (
            "yield {'val_loss': 0.5, 'epoch': 3}",
            "train.py:train yields epoch, which is set by the study: remove it [G23]",
        ),
        (
            "yield {'outputs': [0.0] * 3}",
            "train.py:train yields outputs of shape (3, 1), expected (130, 1): one row per window of "
            "trial.data('val') [G11]",
        ),
    ],
)
def test_invalid_epochs_are_refused(attempt: Attempt, code: str, text: str) -> None:
    """The smoke step refuses it and describes a valid value."""
    assert smoked(attempt, READ + code) == text


def test_g03_a_sampled_value_that_is_never_read_is_refused(attempt: Attempt) -> None:
    """All its values would train the same model."""
    assert smoked(attempt, "yield {'val_loss': 0.5}") == (
        "search.space varies learning_rate, which neither train.py:train nor the model reads: every value would train "
        "the same model; remove it from search.space [G03]"
    )


def test_g23_an_objective_that_is_not_measured_is_refused(attempt: Attempt) -> None:
    """The message lists the metrics."""
    objective = {"metric": "sharpe", "direction": "maximize"}
    assert smoked(attempt, READ + "yield {'val_loss': 0.5, 'calmar': 1}", objective=objective) == (
        "objective.metric: 'sharpe' is not measured; train.py:train yields calmar, train_loss, val_loss [G23]"
    )


def test_g04_a_model_of_another_size_is_refused(attempt: Attempt) -> None:
    """The function counts the parameters."""
    assert smoked(attempt, READ + "trial.verify_size(1234)\nyield {'val_loss': 0.5}") == (
        "the built model 'flat' has 1,234 parameters, its formula returns 2 for {'inputs': 1}: fix num_parameters() of "
        "the plugin [G04]"
    )


def test_g10_probabilities_as_outputs_are_detected(attempt: Attempt) -> None:
    """Rows that sum to one are refused; a single output gets a flag if its loss is smaller as a probability."""
    code = """
        labels = trial.data('val')[1]
        yield {'outputs': [0.9 if one else 0.1 for one in labels]}
        """
    assert attempt(code)["warnings"] == [
        "outputs of the best epoch have a lower loss as probabilities, but `outputs` must be logits"
    ]
    rows = "yield {'outputs': [[0.2, 0.3, 0.5]] * len(trial.data('val')[1])}"
    three = {"task": "multiclass", "shape": DataShape(context=4, features=2, outputs=3)}
    with pytest.raises(RefusedError, match=r"^train.py:train yields probabilities as outputs; yield logits, "):
        attempt(rows, spec=three, name="b")


def test_checkpoints_that_the_function_never_reads_are_refused(attempt: Attempt) -> None:
    """The trial would restart, but its learning curve would continue."""
    code = READ + "trial.save_with(lambda path: path.write_text('x'))\nyield {'val_loss': 0.5}"
    assert smoked(attempt, code) == (
        "train.py:train saves checkpoints but does not read trial.resume to continue from one"
    )


def test_a_function_that_saves_to_another_path_is_refused(attempt: Attempt) -> None:
    """The smoke step finds it: for example, `numpy.save` adds a suffix to the path."""
    code = READ + "trial.resume\ntrial.save_with(lambda path: None)\nyield {'val_loss': 1}"
    with pytest.raises(RuntimeError, match=r"^the function given to trial.save_with wrote no file at "):
        attempt(code, spec={"mode": "smoke"})


def test_g36_a_loss_that_is_not_finite_has_diverged(attempt: Attempt) -> None:
    """The earlier epochs remain as its learning curve, and it has no value."""
    result = attempt("yield {'val_loss': 0.5}\nyield {'val_loss': float('nan')}\n")
    assert (result["state"], result["reason"]) == ("diverged", "validation loss is nan after epoch 2")
    assert (result["value"], len(result["learning_curve"])) == (None, 1)
    with pytest.raises(Diverged, match=r"^validation loss is inf after epoch 1$"):
        attempt("yield {'outputs': [float('inf')] * 130}\n", name="b", spec={"mode": "smoke"})


def test_early_stopping_ends_the_function(attempt: Attempt, tmp_path: Path) -> None:
    """The function can clean up."""
    code = """
        try:
            while True:
                yield {'val_loss': 0.5}
        finally:
            (trial.folder / 'closed').write_text('yes')
        """

    def patient(spec: FunctionSpec) -> FunctionSpec:
        return evolve(spec, plan=evolve(spec.plan, patience=3))

    result = attempt(code, spec=patient)
    assert (result["state"], result["epochs_ended"]) == ("completed", 4)
    assert (tmp_path / "a" / "closed").exists()


def test_a_function_without_epochs_fails(attempt: Attempt) -> None:
    """A function that ends before its first epoch is refused."""
    with pytest.raises(
        ValueError, match=r"^train.py:train ended before its first epoch: it yields a mapping of metrics"
    ):
        attempt("return []")


def test_a_trial_sees_no_test_data(attempt: Attempt) -> None:
    """It gets training and validation windows, ordered by time."""
    with pytest.raises(ValueError, match=r"^data\('test'\): a trial can read only the parts 'train' and 'val'$"):
        attempt("trial.data('test')\nyield {'val_loss': 0.5}")
    result = attempt(
        """
        import numpy as np
        x, y = trial.data('train')
        assert x.shape == (len(y), 4, 2) and x.dtype == np.float32 and y.dtype == np.int64
        assert np.array_equal(x[1:, :-1], x[:-1, 1:])
        yield {'val_loss': float(len(y))}
        """,
        name="b",
    )
    assert result["value"] == result["windows"]


def test_a_forecast_is_in_the_targets_unit(attempt: Attempt) -> None:
    """Labels, outputs and loss use it; `scale` has the standardisation of the training."""
    target = {"kind": "forward_return"}
    dataset = {"use": "parquet", "path": "walk.csv", "features": ["Close", "Volume"], "target": target, "context": 4}
    result = attempt(
        """
        (x, y), (_, val_y) = trial.data('train'), trial.data('val')
        assert trial.task == 'forecast' and abs(y.mean() - trial.scale.mean) < 1e-6
        yield {'outputs': val_y + 0.25}
        """,
        dataset=dataset,
    )
    assert result["value"] == pytest.approx(0.0625)
    assert result["best"]["mae"] == pytest.approx(0.25)


def test_g26_a_file_that_changed_since_the_check_is_not_run(attempt: Attempt) -> None:
    """The record must name the code that ran."""
    with pytest.raises(ChangedFileError, match=r"train.py changed since the run began \(SHA-256 "):
        attempt(spec={"sha256": "0" * 64})


def test_a_damaged_checkpoint_is_skipped(attempt: Attempt, tmp_path: Path) -> None:
    """A damaged file is detected by its checksum, and an earlier attempt is continued."""

    def write(folder: Path, epoch: int, content: bytes) -> None:
        folder.mkdir(exist_ok=True)
        track = {"curve": [], "best": None, "last": None, "reference": 0.5, "stale": 1}
        outputs = np.array([[1.0], [2.0]], dtype=np.float32)
        state = {"save": lambda path: path.write_bytes(content), "epoch": epoch, "seconds": 2.5, "track": track}
        save(folder, state | {"outputs": outputs})

    first, second = tmp_path / "first", tmp_path / "second"
    write(first, 1, b"one")
    write(second, 2, b"two")
    write(second, 3, b"three")
    assert sorted(one.name for one in second.iterdir()) == [STATE, "checkpoint_3.own"]
    assert AttemptFolder(second).has_checkpoint()
    passed: list[str] = []
    state, path = load_newest([second, first], skipped=passed) or ({}, Path())
    assert (state["epoch"], state["track"]["reference"], path.read_bytes(), passed) == (3, 0.5, b"three", [])
    assert state["outputs"].tolist() == [[1.0], [2.0]]
    path.write_bytes(b"other")
    state, path = load_newest([second, first], skipped=passed) or ({}, Path())
    assert (state["epoch"], path.parent, passed) == (
        1,
        first,
        ["checkpoint skipped: second/checkpoint_3.own: its content has changed since it was written"],
    )
    (first / STATE).write_bytes(b"no zip file")
    assert load_newest([first], skipped=passed) is None
    AttemptFolder(second).remove_checkpoints()
    assert not list(second.iterdir())


def test_a_loop_with_callbacks_can_report(attempt: Attempt, tmp_path: Path) -> None:
    """As in Lightning and Hugging Face; the loop is left when the training ends."""
    code = """
        for loss in (0.5, 0.4, 0.3, 0.2):
            trial.report({'val_loss': loss})
        """
    assert [line["val_loss"] for line in attempt(code)["learning_curve"]] == [0.5, 0.4, 0.3, 0.2]
    stop = "trial.report({'val_loss': 0.5})\n(trial.folder / 'control.json').write_text('{\"action\": \"stop\"}')\n"
    result = attempt(f"{stop}trial.report({{'val_loss': 0.4}})\nassert False, 'not reached'", name="b")
    assert (result["state"], result["epochs_ended"], result["value"]) == ("stopped", 2, None)

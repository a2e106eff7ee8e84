"""Predictions of a retrained model: equal to the evaluation, without looking ahead, or refused."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from scalecore.api.files import read_json, write_json
from scalecore.cli.main import main
from scalecore.data.predictions import Predictions, read_predictions
from scalecore_torch import api as torch_parts
from scalecore_torch.training.inference import all_logits

from .conftest import Study
from .test_evaluation import small


@pytest.fixture(scope="module")
def model(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a retrained model of one trial."""
    study = Study(tmp_path_factory.mktemp("predicting"), small(bars))
    study.experiment["dataset"]["target"] = {"kind": "direction", "horizon": 3}
    study.experiment["guards"] = {"min_validation_samples": 20, "min_validation_positives": 5}
    study.run("search.trials=1")
    done = CliRunner().invoke(main, ["evaluate", str(study.folder)])
    assert done.exit_code == 0, done.output
    return study.folder / "promoted" / "trial_0000"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments), "--device", "cpu"])


def predicted(*arguments: object) -> pd.DataFrame:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return pd.read_csv(io.StringIO(done.stdout), index_col="time", parse_dates=True)


def kept_on_test(model: Path) -> Predictions:
    return read_predictions(model / read_json(model / "evaluation.json")["test"]["predictions"]["file"])


def test_predictions_match_the_evaluation(model: Path, bars: Path, tmp_path: Path) -> None:
    """On the rows of the test windows the logits are bit-identical to the stored ones; on other rows within 1e-6.

    Both parquet and CSV hold them with all their digits.
    """
    kept, table = kept_on_test(model), pd.read_parquet(bars)
    first, last = kept.rows[0] - 11, kept.rows[-1] + 1
    table.iloc[first:last].to_parquet(tmp_path / "rows.parquet")
    done = run(model, tmp_path / "rows.parquet", "--output", tmp_path / "out.parquet")
    dates = " to ".join(str(moment)[:10] for moment in kept.times[[0, -1]])
    assert done.stdout == f"{len(kept)} predictions, {dates}: {tmp_path / 'out.parquet'}\n"
    exact = pd.read_parquet(tmp_path / "out.parquet")
    assert (exact["time"].to_numpy() == kept.times).all()
    assert (exact["logit"].to_numpy() == kept.outputs[:, 0]).all()
    printed = predicted(model, tmp_path / "rows.parquet")
    assert (printed["logit"].to_numpy().astype(np.float32) == kept.outputs[:, 0]).all()
    assert printed["probability"].to_numpy() == pytest.approx(1 / (1 + np.exp(-kept.outputs[:, 0].astype(float))))
    threshold = read_json(model / "model.json")["threshold"]["value"]
    assert (exact["decision"] == (exact["probability"] >= threshold)).all()
    whole = predicted(model, bars)
    assert whole.loc[kept.times, "logit"].to_numpy() == pytest.approx(kept.outputs[:, 0], abs=1e-6)


def test_a_prediction_uses_the_precision_of_the_evaluation(
    model: Path, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy of the training applies to the evaluation on test data, the model and each prediction; a model of an
    older version uses float32."""
    (measured,) = model.parents[1].glob("attempts/test_*/spec.json")
    assert read_json(measured)["evaluation"] == read_json(model / "model.json")["evaluation"] == "fp32"
    used = []

    def spy(*args: Any, evaluation: str, **kwargs: Any) -> Any:
        used.append(evaluation)
        return all_logits(*args, **kwargs)

    monkeypatch.setattr(torch_parts, "all_logits", spy)
    mine = tmp_path / "model"
    shutil.copytree(model, mine)
    content = read_json(model / "model.json")
    for stored in ({"evaluation": "tf32"}, {}):
        write_json(mine / "model.json", {k: v for k, v in content.items() if k != "evaluation"} | stored)
        predicted(mine, bars)
    assert used == ["tf32", "fp32"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_a_missing_device_is_refused_with_the_name_of_the_option(model: Path, bars: Path) -> None:
    """Predictions are not compared with each other, so the user may choose another device."""
    done = CliRunner().invoke(main, ["predict", str(model), str(bars), "--device", "cuda"])
    assert done.exit_code == 5
    assert done.stderr == f"--device cuda: torch {torch.__version__} finds no CUDA device here; choose another device\n"


def test_the_newest_rows_are_predicted_without_a_target(model: Path, bars: Path) -> None:
    """Every row that ends a complete window has a line, including the last rows, whose labels are in the future."""
    table, whole = pd.read_parquet(bars), predicted(model, bars)
    assert list(whole.index) == list(table.index[11:])
    assert kept_on_test(model).times[-1] == table.index[-4].to_datetime64()
    newest = predicted(model, "--dataset", f"path={bars}", "--last", 2)
    pd.testing.assert_frame_equal(newest, whole.tail(2), check_exact=False, atol=1e-6)


def test_g51_a_prediction_does_not_look_ahead(model: Path, bars: Path, tmp_path: Path) -> None:
    """Later rows, present or missing, do not change the prediction at a row."""
    table, whole = pd.read_parquet(bars), predicted(model, bars)
    other = table.copy()
    other.iloc[500:] *= 3.0
    other.to_parquet(tmp_path / "other.parquet")
    table.iloc[:500].to_parquet(tmp_path / "cut.parquet")
    until = table.index[499]
    assert predicted(model, tmp_path / "other.parquet").loc[:until].equals(whole.loc[:until])
    assert not predicted(model, tmp_path / "other.parquet").equals(whole)
    cut = predicted(model, tmp_path / "cut.parquet")
    pd.testing.assert_frame_equal(cut, whole.loc[:until], check_exact=False, atol=1e-6)


def _with(table: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    return table.assign(**columns)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            lambda table: table.drop(columns="Volume"),
            4,
            "{path}: there is no feature 'Volume'; the columns are Open, High, Low, Close",
        ),
        (
            lambda table: table.rename(columns={"Volume": "volume"}),
            4,
            "{path}: there is no feature 'Volume'; did you mean 'volume'? Names are case-sensitive",
        ),
        (
            lambda table: _with(table, Volume="many"),
            4,
            "{path}: feature 'Volume' is not numeric: row 0 (2015-01-01) contains 'many'. Encode it as numbers, or "
            "remove the column",
        ),
        (lambda table: table.head(11), 4, "{path}: 11 rows, but a window of the model needs 12"),
        (
            lambda table: _with(table, Close=table["Close"].where(table.index != table.index[7])),
            4,
            "{path}: column 'Close' is missing in row 7 (2015-01-12)",
        ),
        (
            lambda table: table.iloc[::-1],
            4,
            "{path}: row 1 (2018-06-12) comes after row 0 (2018-06-13); sort the rows by time",
        ),
    ],
    ids=["missing", "renamed", "text", "few rows", "gap", "backwards"],
)
def test_unfit_data_is_refused(change: Any, code: int, message: str, model: Path, bars: Path, tmp_path: Path) -> None:
    """One message that names file, column and row; no file is written."""
    path = tmp_path / "rows.parquet"
    change(pd.read_parquet(bars)).to_parquet(path)
    done = run(model, path, "--output", tmp_path / "out.csv")
    assert (done.exit_code, done.stderr) == (code, message.format(path=path) + "\n")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        (
            "features=[Volume, Close]",
            5,
            "bars.parquet: the feature order is Volume, Close, but the model was trained with Close, Volume",
        ),
        (
            "features=[Close]",
            5,
            "bars.parquet: the model was trained with Volume, which the data does not contain",
        ),
        (
            "features=[Close, Volume, Open]",
            5,
            "bars.parquet: the model was not trained with Open; remove them from the data",
        ),
        ("context=5", 2, "--dataset context=5: the model determines context; it cannot be changed for a prediction"),
        ("pat=x", 2, "<command line>: dataset.pat=x: unknown key; did you mean 'path'?"),
    ],
)
def test_another_dataset_is_refused(option: str, code: int, message: str, model: Path) -> None:
    """The dataset must provide the features of the training in the same order."""
    done = run(model, "--dataset", option)
    assert (done.exit_code, done.stderr) == (code, message + "\n")


def test_a_damaged_model_is_refused(model: Path, bars: Path, tmp_path: Path) -> None:
    """Damaged weights, and code that computes other logits, are refused."""
    copy = tmp_path / "model"
    copy.mkdir()
    for name in ("model.json", "weights.safetensors"):
        shutil.copy(model / name, copy / name)
    assert predicted(copy, bars).equals(predicted(model, bars)), "a copy of two files predicts other values"

    content = read_json(copy / "model.json")
    write_json(copy / "model.json", content | {"probe": [[value + 1.0] for (value,) in content["probe"]]})
    done = run(copy, bars)
    versions = content["versions"]
    assert (done.exit_code, done.stderr) == (
        5,
        f"{copy}: the installed code computes other logits than the stored model; install the versions that wrote it, "
        f"scalecore {versions['scalecore']} and torch {versions['torch']}\n",
    )
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(weights)
    done = run(copy, bars)
    assert (done.exit_code, done.stderr) == (
        4,
        f"{copy / 'weights.safetensors'}: the checksum does not match model.json: the file is damaged or belongs to "
        "another model\n",
    )

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from scalecore.cli.main import main


def test_g04_a_foreign_model_is_counted_by_the_family(tmp_path: Path) -> None:
    """A label of 200M over shapes of 2.4 and 23.9 million parameters, of which one is stated and one misstated."""
    rows = [
        {
            "number": number,
            "value": 0.71 + 0.01 * number,
            "state": "COMPLETE",
            "params": {"d_model": width, "n_layers": depth, "n_heads": 4, "d_ff": wide},
            "user_attrs": {"param_count": stated},
        }
        for number, (width, depth, wide, stated) in enumerate([(64, 48, 256, 2_417_473), (128, 180, 256, 200_000_000)])
    ]
    path = tmp_path / "spy_200M.json"
    path.write_text(json.dumps(rows))
    arguments = ["audit", str(path), "--model", "patchtst", "patch_len=10", "stride=5", "--features", "25", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = [(one["level"], one["text"]) for one in json.loads(done.stdout)["findings"] if one["guard"] == "G04"]
    assert found == [
        ("wrong", "trials 1: 200,000,000 parameters are stated, 23,882,881 are counted"),
        ("wrong", "labelled 200M, but 2 of 2 models have 2.42M to 23.88M (counted)"),
    ]


def test_the_shape_that_was_counted_for_is_told(tmp_path: Path) -> None:
    """Where it is not given it is assumed, and then it is the reader who must see that."""
    (tmp_path / "a.json").write_text("[]")
    arguments = ["audit", str(tmp_path / "a.json"), "--model", "patchtst", "--context", "30"]
    done = CliRunner().invoke(main, arguments)
    assert "Parameters are counted by patchtst for --context 30 --features 25 --outputs 1.\n" in done.stdout
    done = CliRunner().invoke(main, [*arguments, "--json"])
    counted = {"model": "patchtst", "context": 30, "features": 25, "outputs": 1}
    assert json.loads(done.stdout)["counted"] == counted


def test_a_study_of_scalecore_is_not_audited(tmp_path: Path) -> None:
    """Its journal holds more than an old result file could say."""
    (tmp_path / "journal.jsonl").touch()
    done = CliRunner().invoke(main, ["audit", str(tmp_path)])
    expected = f"{tmp_path}: a study of scalecore has its own checks: scalecore analyze results {tmp_path}\n"
    assert (done.exit_code, done.stderr) == (2, expected)


def test_options_of_no_model_are_refused(tmp_path: Path) -> None:
    """They would be read by nobody; a wrong one is told with the nearest."""
    (tmp_path / "a.json").write_text("[]")
    done = CliRunner().invoke(main, ["audit", str(tmp_path / "a.json"), "patch_len=10"])
    assert (done.exit_code, done.stderr) == (2, "patch_len=10: options of a model, but no --model NAME\n")
    done = CliRunner().invoke(main, ["audit", str(tmp_path / "a.json"), "--model", "patchtst", "patch_len2=10"])
    assert (done.exit_code, done.stderr) == (
        2,
        "<command line>: patch_len2=10: unknown key; did you mean 'patch_len'?\n",
    )


def test_values_that_are_no_sizes_make_no_architecture(tmp_path: Path) -> None:
    """Old files hold NaN, Infinity and numbers that stand for something else; they are not counted."""
    rows = [
        {"number": number, "value": 0.5 + number, "state": "COMPLETE", "params": {"d_model": odd, "n_layers": 2}}
        for number, odd in enumerate([float("nan"), float("inf"), 1e300, -64, 64.5])
    ]
    for one in rows:
        one["params"] |= {"n_heads": 4, "d_ff": 256}  # type: ignore[operator]
    path = tmp_path / "a_200M.json"
    path.write_text(json.dumps(rows))
    done = CliRunner().invoke(main, ["audit", str(path), "--model", "patchtst", "--json"])
    assert done.exit_code == 0, done.output
    found = [(one["level"], one["text"]) for one in json.loads(done.stdout)["findings"] if one["guard"] == "G04"]
    assert found == [("unknown", "no record holds a whole architecture, so parameters cannot be counted")]


def test_an_audit_of_nothing_is_a_mistake() -> None:
    """Not a page without findings."""
    done = CliRunner().invoke(main, ["audit", "patch_len=10", "--model", "patchtst"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "no results are named: scalecore audit PATH... [KEY=VALUE]...\n"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.api.trials import TrialState
from scalecore.store.events import StudyBegun
from scalecore.testing.plans import make_plan
from scalecore_analysis.importing.readers import OldRecord, as_number, read_old_results, same

STUDY: dict[str, Any] = {name: {} for name in ("dataset", "model", "training")} | {
    "name": "old",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "search": {"trials": 3},
}
FLAT = """\
trial,status,value,d_model,n_layers,learning_rate,val_auc,duration,budget,param_count,forced_n_layers,architecture_idx
0,COMPLETE,0.41,64,2,1e-4,0.6,12.5,20M,123456,,3
1,FAIL,nan,64,4,2e-4,,,20M,,4,
"""
OPTUNA = """\
,number,value,datetime_start,params_d_model,params_learning_rate,user_attrs_forced_d_model,user_attrs_auc,gini,state
0,0,0.41,2024-01-02,64,0.0001,,0.6,0.2,COMPLETE
1,1,0.42,2024-01-02,,,128,0.6,0.2,PRUNED
"""


def read(folder: Path, name: str, content: Any) -> list[OldRecord]:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_old_results([path])


def trial(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {"number": number, "value": 0.5, "state": "COMPLETE", "params": {"d_model": 64}, **changes}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_with_one_column_per_parameter_is_read(tmp_path: Path, separator: str) -> None:
    """Settings, results and properties of the study are distinguished; empty cells are missing values."""
    first, second = read(tmp_path, "old.csv", "\ufeff" + FLAT.replace(",", separator))
    assert (first.number, first.state, first.value) == (0, TrialState.COMPLETED, 0.41)
    assert first.values == {"d_model": "64", "n_layers": "2", "learning_rate": "1e-4", "architecture_idx": "3"}
    assert first.attributes == {"val_auc": "0.6", "duration": "12.5", "param_count": "123456"}
    assert (first.stated_parameters, first.position, dict(first.claims)) == (123456, "3", {"budget": "20M"})
    assert (second.state, second.value, second.source) == (TrialState.FAILED, None, f"{tmp_path / 'old.csv'}[1]")
    assert (second.values["n_layers"], second.conflicts, second.forced) == ("4", (), frozenset())


def test_an_optuna_table_written_by_pandas_is_read(tmp_path: Path) -> None:
    """`params_` and `user_attrs_` determine a column's place; other columns are no parameters."""
    first, second = read(tmp_path, "old.csv", OPTUNA)
    assert first.values == {"d_model": "64", "learning_rate": "0.0001"}
    assert first.attributes == {"datetime_start": "2024-01-02", "auc": "0.6", "gini": "0.2"}
    assert (second.values, second.forced, second.empty) == ({"d_model": "128"}, frozenset({"d_model"}), True)


def test_mappings_in_a_cell_are_read(tmp_path: Path) -> None:
    """In JSON and in Python syntax."""
    text = "number,state,value,params,user_attrs\n"
    text += '0,TrialState.COMPLETE,0.4,"{""d_model"": 64}",\n1,COMPLETE,0.4,{},"{\'forced_d_model\': 32}"\n'
    first, second = read(tmp_path, "old.csv", text)
    assert (first.state, first.values, first.empty) == (TrialState.COMPLETED, {"d_model": 64}, False)
    assert (second.values, second.empty) == ({"d_model": 32}, True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("timestamp,memory\n1,2\n", "the file contains no trials: there is no column `value`"),
        ("number,value\n", "the file contains no trials"),
        ("value,d_model,d_model\n1,2,3\n", "the file has two columns named 'd_model'"),
        ("number,value\n1,0.5,7\n", "the row has 3 cells, but the table has 2 columns"),
        ('number,value\n1,"0.5\n', "the file cannot be read as CSV: line 2: unexpected end of data"),
    ],
)
def test_tables_without_trials_are_reported_with_the_reason(tmp_path: Path, content: str, problem: str) -> None:
    """An incomplete row is one unreadable record."""
    (found,) = read(tmp_path, "old.csv", content)
    assert found.problem == problem


def test_text_in_another_encoding_is_no_table(tmp_path: Path) -> None:
    """The encoding is not guessed."""
    (tmp_path / "old.csv").write_bytes("number,value,näme\n1,0.5,2\n".encode("latin-1"))
    (found,) = read_old_results([tmp_path / "old.csv"])
    assert found.problem is not None
    assert found.problem.startswith("the file cannot be read as CSV: 'utf-8' codec can't decode byte 0xe4")


@pytest.mark.parametrize(
    "content",
    [
        [trial(0), trial(1)],
        {"experiment": "spy", "trials": [trial(0), trial(1)]},
        {"experiment": "spy", "counts": [3], "all_trials": [trial(0), trial(1)]},
        {"0": trial(0), "1": trial(1)},
    ],
)
def test_lists_of_trials_are_found_in_any_place(tmp_path: Path, content: Any) -> None:
    """Bare, under a key, or by number; properties of the file apply to each trial."""
    found = read(tmp_path, "old.json", content)
    assert [(one.number, one.problem) for one in found] == [(0, None), (1, None)]
    assert [dict(one.claims) for one in found] == [{"experiment": "spy"} if "experiment" in content else {}] * 2


def test_the_property_nearest_to_a_trial_wins(tmp_path: Path) -> None:
    """The trial's keys, then its attributes, then the file, each with its `config`."""
    inner = trial(user_attrs={"budget": "20M", "config": {"tier": "a50", "horizon": 5}}, experiment="own")
    (found,) = read(tmp_path, "old.json", {"experiment": "spy", "tier": "a25", "trials": [inner]})
    assert dict(found.claims) == {"experiment": "own", "budget": "20M", "tier": "a50", "horizon": 5}


def test_a_list_of_one_value_is_a_value(tmp_path: Path) -> None:
    """As in trials that Optuna wrote; two objectives are no value."""
    one, two = read(tmp_path, "old.json", [{**trial(), "value": None, "values": x} for x in ([0.4], [0.4, 7.0])])
    assert (one.value, two.value) == (0.4, None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            json.dumps(trial()) + "\n",
            "not a scalecore journal; provide trials as a JSON list or a CSV table",
        ),
        (
            json.dumps(StudyBegun(seq=0, time="now", experiment=STUDY, plan=make_plan()).line()) + "\n",
            "the journal contains no finished trials",
        ),
    ],
)
def test_lines_without_results_are_reported_with_the_reason(tmp_path: Path, content: str, problem: str) -> None:
    """JSON lines of another format are not reported as a damaged journal."""
    (found,) = read(tmp_path, "old.jsonl", content)
    assert found.problem == problem


def test_marks_of_forced_trials_are_no_second_value(tmp_path: Path) -> None:
    """`forced_d_model: true` means that `d_model` was forced; without `d_model` a boolean is a parameter."""
    marked = trial(user_attrs={"forced_d_model": True, "forced_label": "min d_model", "forced_revin": True})
    (found,) = read(tmp_path, "old.json", [marked])
    assert found.conflicts == ()
    assert found.values == {"d_model": 64, "label": "min d_model", "revin": True}
    assert found.forced == {"label", "revin"}


def test_forced_trials_are_recognised_by_all_marks(tmp_path: Path) -> None:
    """Attributes that are set, or the origin as written by scalecore; a false mark does not count."""
    marked = [
        trial(user_attrs={"forced_d_model": 64}),
        trial(user_attrs={"forced": True}),
        trial(origin="forced n_heads:max"),
        trial(origin={"kind": "forced"}),
        trial(system_attrs={"fixed_params": {"d_model": 64}}),
        trial(user_attrs={"system_attrs_fixed_params": "{'d_model': 64}"}),
    ]
    others = [trial(user_attrs={"forced": False, "forced_label": None}), trial(origin="sampled"), trial()]
    assert [one.is_forced for one in read(tmp_path, "old.json", [*marked, *others])] == [True] * 6 + [False] * 3


def test_the_table_of_scalecore_identifies_its_data(tmp_path: Path) -> None:
    """Another tool's checksum has another meaning."""
    own = "trial,status,value,metric,d_model,data_checksum,hash\n0,completed,0.5,val_loss,64,abc,def\n"
    (found,) = read(tmp_path, "own.csv", own)
    assert (found.fingerprint, found.hash, found.attributes["metric"]) == ("abc", "def", "val_loss")
    (found,) = read(tmp_path, "other.csv", own.replace(",hash", ",").replace(",def", ","))
    assert (found.fingerprint, found.hash) == (None, None)


def test_the_table_of_scalecore_has_hyper_parameters(tmp_path: Path) -> None:
    """Its columns of the label and the result are no parameters; in another table a threshold may be one."""
    own = "trial,status,value,d_model,data_checksum,hash,target,threshold,tier,auc,learning_rate\n"
    own += "0,completed,0.5,64,abc,def,CLOSE >= 1,0.01,a25,0.7,0.001\n"
    (found,) = read(tmp_path, "own.csv", own)
    assert found.values == {"d_model": "64", "learning_rate": "0.001"}
    (found,) = read(tmp_path, "other.csv", "trial,value,threshold\n0,0.5,0.3\n")
    assert found.values == {"threshold": "0.3"}


def test_a_folder_includes_all_files_below_it(tmp_path: Path) -> None:
    """Tables too; trial files of a study take precedence over its summaries, and links to parents are not followed."""
    study = tmp_path / "20M" / "spy"
    (study / "trials").mkdir(parents=True)
    (study / "trials" / "trial_0000.json").write_text(json.dumps(trial()))
    (study / "spy_all_trials.json").write_text(json.dumps([trial()]))
    (tmp_path / "results.CSV").write_text("number,value\n7,0.5\n")
    (tmp_path / "20M" / "back").symlink_to(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "old.json").write_text(json.dumps([trial()]))
    assert [one.path for one in read_old_results([tmp_path])] == [
        tmp_path / "results.CSV",
        study / "trials" / "trial_0000.json",
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ExperimentError) as refused:
        read_old_results([empty])
    assert str(refused.value) == (f"{empty}: no result files found (a journal, trials/trial_*.json, *.json or *.csv)")


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    """By its name, its folder and a link; otherwise every trial would be a repeat."""
    read(tmp_path, "old.json", [trial(0), trial(1)])
    (tmp_path / "link.json").symlink_to(tmp_path / "old.json")
    assert len(read_old_results([tmp_path / "old.json", tmp_path, tmp_path / ".." / tmp_path.name])) == 2


def test_numbers_outside_the_range_of_floats_are_missing(tmp_path: Path) -> None:
    """Infinite values, and integers of 400 digits."""
    odd = 10**400
    first, second = read(
        tmp_path,
        "old.json",
        [trial(user_attrs={"param_count": odd, "data": {"fingerprint": 5}}), trial(value=odd, number=odd, seed=odd)],
    )
    assert (first.stated_parameters, first.fingerprint) == (None, None)
    assert (second.value, second.number, second.seed) == (None, None, None)


def test_a_file_nested_too_deeply_is_unreadable(tmp_path: Path) -> None:
    """The record reports the reason."""
    (found,) = read(tmp_path, "deep.json", "[" * 100_000)
    assert found.problem == "the file cannot be read as JSON: it is nested too deeply"


def test_numbers_are_equal_in_every_form() -> None:
    """As text too; booleans and words are no numbers."""
    assert [as_number(one) for one in ("128", "1e-4", "-2.5", " 7 ")] == [128, 1e-4, -2.5, 7]
    assert [as_number(one) for one in (True, None, "nan", "inf", "1_000", "0x10", "wide", [1])] == [None] * 8
    assert same(256, "256.0")
    assert same("adam", "adam")
    assert not same(1, True)
    assert not same("1", True)
    assert not same(1, "one")

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
def test_a_table_with_a_column_for_each_parameter_is_read(tmp_path: Path, separator: str) -> None:
    """Settings are told from what was measured and from what is said of the study; empty cells are missing."""
    first, second = read(tmp_path, "old.csv", "\ufeff" + FLAT.replace(",", separator))
    assert (first.number, first.state, first.value) == (0, TrialState.COMPLETED, 0.41)
    assert first.values == {"d_model": "64", "n_layers": "2", "learning_rate": "1e-4", "architecture_idx": "3"}
    assert first.attributes == {"val_auc": "0.6", "duration": "12.5", "param_count": "123456"}
    assert (first.stated_parameters, first.position, dict(first.claims)) == (123456, "3", {"budget": "20M"})
    assert (second.state, second.value, second.source) == (TrialState.FAILED, None, f"{tmp_path / 'old.csv'}[1]")
    assert (second.values["n_layers"], second.conflicts, second.forced) == ("4", (), frozenset())


def test_the_table_that_pandas_makes_of_an_optuna_study_is_read(tmp_path: Path) -> None:
    """`params_` and `user_attrs_` say where a column belongs; other columns are no parameters."""
    first, second = read(tmp_path, "old.csv", OPTUNA)
    assert first.values == {"d_model": "64", "learning_rate": "0.0001"}
    assert first.attributes == {"datetime_start": "2024-01-02", "auc": "0.6", "gini": "0.2"}
    assert (second.values, second.forced, second.empty) == ({"d_model": "128"}, frozenset({"d_model"}), True)


def test_mappings_in_a_cell_are_read(tmp_path: Path) -> None:
    """As JSON and as Python writes them."""
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
        ("timestamp,memory\n1,2\n", "the file holds no trials: a table of trials has a column `value`"),
        ("number,value\n", "the file holds no trials"),
        ("value,d_model,d_model\n1,2,3\n", "the file has two columns 'd_model'"),
        ("number,value\n1,0.5,7\n", "this row has 3 cells, the table has 2 columns"),
        ('number,value\n1,"0.5\n', "the file cannot be read as CSV: line 2: unexpected end of data"),
    ],
)
def test_tables_that_hold_no_trials_say_why(tmp_path: Path, content: str, problem: str) -> None:
    """A row that is torn is one record that cannot be read."""
    (found,) = read(tmp_path, "old.csv", content)
    assert found.problem == problem


def test_text_in_another_encoding_is_no_table(tmp_path: Path) -> None:
    """Its bytes are not guessed at."""
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
def test_lists_of_trials_are_found_wherever_they_are(tmp_path: Path, content: Any) -> None:
    """Alone, under a key, or by their numbers; what stands around them is said of each."""
    found = read(tmp_path, "old.json", content)
    assert [(one.number, one.problem) for one in found] == [(0, None), (1, None)]
    assert [dict(one.claims) for one in found] == [{"experiment": "spy"} if "experiment" in content else {}] * 2


def test_what_is_said_nearest_to_a_trial_counts(tmp_path: Path) -> None:
    """Its own keys, then its attributes, then the file around it, each with its `config`."""
    inner = trial(user_attrs={"budget": "20M", "config": {"tier": "a50", "horizon": 5}}, experiment="own")
    (found,) = read(tmp_path, "old.json", {"experiment": "spy", "tier": "a25", "trials": [inner]})
    assert dict(found.claims) == {"experiment": "own", "budget": "20M", "tier": "a50", "horizon": 5}


def test_a_list_of_one_value_is_a_value(tmp_path: Path) -> None:
    """As in trials that Optuna wrote; of two objectives neither is the value."""
    one, two = read(tmp_path, "old.json", [{**trial(), "value": None, "values": x} for x in ([0.4], [0.4, 7.0])])
    assert (one.value, two.value) == (0.4, None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            json.dumps(trial()) + "\n",
            "not a journal of scalecore; give trials as a list in JSON or a table in CSV",
        ),
        (
            json.dumps(StudyBegun(seq=0, time="now", experiment=STUDY, plan=make_plan()).line()) + "\n",
            "the journal holds no finished trials",
        ),
    ],
)
def test_lines_without_results_say_why(tmp_path: Path, content: str, problem: str) -> None:
    """Lines of JSON that are no journal are not called a damaged one."""
    (found,) = read(tmp_path, "old.jsonl", content)
    assert found.problem == problem


def test_marks_of_forced_trials_are_no_second_value(tmp_path: Path) -> None:
    """`forced_d_model: true` says that `d_model` was forced; alone, a truth value is a parameter."""
    marked = trial(user_attrs={"forced_d_model": True, "forced_label": "min d_model", "forced_revin": True})
    (found,) = read(tmp_path, "old.json", [marked])
    assert found.conflicts == ()
    assert found.values == {"d_model": 64, "label": "min d_model", "revin": True}
    assert found.forced == {"label", "revin"}


def test_forced_trials_are_told_by_all_that_marks_them(tmp_path: Path) -> None:
    """Attributes that are set, or the origin as scalecore writes it; a mark that denies it is none."""
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


def test_the_table_of_scalecore_says_which_data_it_is_of(tmp_path: Path) -> None:
    """Another tool's checksum is of something else."""
    own = "trial,status,value,metric,d_model,data_checksum,hash\n0,completed,0.5,val_loss,64,abc,def\n"
    (found,) = read(tmp_path, "own.csv", own)
    assert (found.fingerprint, found.hash, found.attributes["metric"]) == ("abc", "def", "val_loss")
    (found,) = read(tmp_path, "other.csv", own.replace(",hash", ",").replace(",def", ","))
    assert (found.fingerprint, found.hash) == (None, None)


def test_a_folder_stands_for_all_files_below_it(tmp_path: Path) -> None:
    """Tables too; trial files of a study come before its summaries, and a link back is not followed."""
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
    assert str(refused.value) == (
        f"{empty}: no result files here (neither a journal, nor trials/trial_*.json, nor *.json, nor *.csv)"
    )


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    """By its own name, by its folder, and by a link: else every trial would repeat itself."""
    read(tmp_path, "old.json", [trial(0), trial(1)])
    (tmp_path / "link.json").symlink_to(tmp_path / "old.json")
    assert len(read_old_results([tmp_path / "old.json", tmp_path, tmp_path / ".." / tmp_path.name])) == 2


def test_numbers_that_no_float_holds_are_missing(tmp_path: Path) -> None:
    """Infinite values, and integers of 400 digits."""
    odd = 10**400
    first, second = read(
        tmp_path,
        "old.json",
        [trial(user_attrs={"param_count": odd, "data": {"fingerprint": 5}}), trial(value=odd, number=odd, seed=odd)],
    )
    assert (first.stated_parameters, first.fingerprint) == (None, None)
    assert (second.value, second.number, second.seed) == (None, None, None)


def test_a_file_that_is_nested_without_end_is_no_result(tmp_path: Path) -> None:
    """It is reported as a file that cannot be read."""
    (found,) = read(tmp_path, "deep.json", "[" * 100_000)
    assert found.problem == "the file cannot be read as JSON: it is nested too deep"


def test_numbers_are_one_in_every_form() -> None:
    """As text too; truth values are no numbers, and words are none."""
    assert [as_number(one) for one in ("128", "1e-4", "-2.5", " 7 ")] == [128, 1e-4, -2.5, 7]
    assert [as_number(one) for one in (True, None, "nan", "inf", "1_000", "0x10", "wide", [1])] == [None] * 8
    assert same(256, "256.0")
    assert same("adam", "adam")
    assert not same(1, True)
    assert not same("1", True)
    assert not same(1, "one")

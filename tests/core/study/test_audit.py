from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scalecore.study.audit import Audit, audit
from scalecore.study.audit_text import audit_lines
from scalecore.study.old_results import read_old_results


def row(number: int, value: float | None = None, **changes: Any) -> dict[str, Any]:
    """A trial as others wrote it, with its own content and no fault but what is changed."""
    params = {"d_model": 64 * (1 + number % 3), "n_layers": 2 + number, "learning_rate": 1e-4 * (1 + number * 7 % 5)}
    return {
        "number": number,
        "value": 0.4003 + 0.01 * (number * 7 % 11) if value is None else value,
        "state": "TrialState.COMPLETE",
        "params": params,
        "user_attrs": {"val_samples": 400, "val_accuracy": 0.6123 + 0.00137 * number, "auc": 0.6},
        **changes,
    }


def look(folder: Path, rows: Any, *, name: str = "trials.json", count: Any = None) -> Audit:
    path = folder / name
    path.write_text(json.dumps(rows))
    return audit(read_old_results([path]), count=count)


def told(found: Audit, guard: str) -> list[tuple[str, str, int]]:
    """Level, text and number of records of the findings of a guard."""
    return [(one.level, one.text, one.records) for one in found.findings if one.guard == guard]


def test_results_without_a_fault_have_only_what_cannot_be_known(tmp_path: Path) -> None:
    """Nothing is wrong; that there are no seeds and that nobody counted is told."""
    found = look(tmp_path, [row(number) for number in range(5)])
    assert (found.records, found.files, found.states) == (5, 1, {"completed": 5})
    assert {(one.level, one.guard) for one in found.findings} == {
        ("unknown", "G04"),
        ("unknown", "G14"),
        ("doubtful", "G32"),
    }


def test_g04_labels_and_stated_sizes_are_held_against_counted_ones(tmp_path: Path) -> None:
    """Models labelled 200M have 6.4 million parameters, and one states another number than it has."""
    rows = [row(number) for number in range(3)]
    rows[1]["user_attrs"]["param_count"] = 200_000_000
    found = look(tmp_path, rows, name="spy_200M_h1.json", count=lambda values: 6_400_000)
    assert told(found, "G04") == [
        ("wrong", "trials 1: 200,000,000 parameters are stated, 6,400,000 are counted", 1),
        ("wrong", "labelled 200M, but 3 of 3 models have 6.40M to 6.40M (counted)", 3),
    ]
    fine = look(tmp_path, [row(number) for number in range(3)], name="spy_6M_h1.json", count=lambda values: 6_400_000)
    assert told(fine, "G04") == []


def test_g30_repeats_are_counted_with_their_values(tmp_path: Path) -> None:
    """27 % of the trials of one study were exact repeats with bit-identical scores."""
    rows = [row(0), row(1), {**row(0), "number": 2}, {**row(0), "number": 3}]
    found = look(tmp_path, rows)
    assert told(found, "G30") == [
        (
            "doubtful",
            "2 of 4 trials repeat an earlier one exactly (trials 2, 3); in 1 case with the same value to the last "
            "digit",
            2,
        )
    ]
    # Values that are missing are not the same value.
    rows = [row(0), row(0, float("nan")), row(1), {**row(1), "value": None}, row(2, float("nan")), row(2, float("inf"))]
    ((_, text, _),) = told(look(tmp_path, rows), "G30")
    assert text == "3 of 6 trials repeat an earlier one exactly (trials 0, 1, 2)"
    # Under another seed it is a replicate.
    assert told(look(tmp_path, [{**row(0), "seed": 1}, {**row(0, 0.5), "seed": 2}]), "G30") == []
    assert told(look(tmp_path, [{**row(0), "seed": 1}, {**row(0, 0.5), "seed": 2}]), "G14") == []


def test_g09_one_value_of_different_models_is_no_result(tmp_path: Path) -> None:
    """To the last digit."""
    found = look(tmp_path, [row(0, 0.6931), row(1, 0.6931), row(2, 0.5)])
    ((level, text, records),) = told(found, "G09")
    assert (level, records) == ("wrong", 2)
    assert text.startswith("trials 0, 1: different configurations, one value to the last digit (0.6931)")


@pytest.mark.parametrize(("value", "guard"), [(0.5, "G35"), (100.0, "G36")])
def test_g35_numbers_that_stand_for_failures_are_named(tmp_path: Path, value: float, guard: str) -> None:
    """Exceptions that came back as 0.5, diverged runs as 100."""
    found = look(tmp_path, [row(0, value), row(1, value), row(2)])
    assert told(found, guard) == [
        ("wrong", f"trials 0, 1: the value is exactly {value:g}: a failure that was returned as a score", 2)
    ]


def test_g12_dry_runs_are_no_results(tmp_path: Path) -> None:
    """By an attribute or by the name of the file; an attribute that denies it is none."""
    rows = [row(number) for number in range(3)]
    rows[0]["user_attrs"]["dry_run"] = True
    rows[1]["user_attrs"]["dry_run"] = False
    assert told(look(tmp_path, rows), "G12") == [("wrong", "trials 0: marked as a dry run: no results", 1)]
    assert told(look(tmp_path, rows[1:], name="validation_dry_run.json"), "G12")[0][2] == 2


def test_g02_sample_sizes_are_read_or_seen_in_the_grain_of_accuracies(tmp_path: Path) -> None:
    """600 trials were ranked on 18 or 19 samples: stated, or as multiples of 1/18; else nobody knows."""
    rows = [row(number) for number in range(4)]
    for number, one in enumerate(rows):
        one["user_attrs"]["val_samples"] = 18 + number % 2
    assert told(look(tmp_path, rows), "G02") == [("wrong", "ranked on 18 or 19 validation samples, fewer than 100", 4)]
    for number, one in enumerate(rows):
        one["user_attrs"] = {"val_accuracy": (7 + 2 * number) / 18}
    assert told(look(tmp_path, rows), "G02") == [
        ("wrong", "all accuracies are multiples of 1/18: they were measured on 18 samples", 4)
    ]
    for one in rows:
        one["user_attrs"] = {"auc": 0.6}
    assert told(look(tmp_path, rows), "G02") == [
        ("unknown", "nothing tells how many samples the values were measured on, nor their intervals", 4)
    ]


def test_g23_missing_metrics_are_counted(tmp_path: Path) -> None:
    """Those that some have, or that none has."""
    rows = [row(number) for number in range(3)]
    del rows[0]["user_attrs"]["auc"]
    assert told(look(tmp_path, rows), "G23") == [("doubtful", "1 of 3 trials lack auc", 1)]
    bare = [{key: value for key, value in row(number).items() if key != "user_attrs"} for number in range(3)]
    assert told(look(tmp_path, bare), "G23") == [("doubtful", "no metrics are kept beside the value", 3)]


def test_g20_g21_what_ran_must_be_known(tmp_path: Path) -> None:
    """No parameters, an index into a list that is not there, two values of one name; forced values are found."""
    forced = {**row(0), "params": {}, "user_attrs": {"forced_d_model": 64, "forced_n_layers": 4}}
    empty = {**row(1), "params": {}, "user_attrs": {}}
    index = {**row(2), "params": {"arch_idx": 3, "learning_rate": 1e-4}}
    torn = {**row(3), "params": {"d_model": 64}, "user_attrs": {"forced_d_model": 128}}
    found = look(tmp_path, [forced, empty, index, torn])
    assert told(found, "G20") == [
        ("wrong", "trials 3: two values of one name, such as d_model is 64 and 128", 1),
        ("unknown", "trials 1: neither parameters nor an architecture: what ran is not known", 1),
    ]
    assert told(found, "G21") == [
        ("unknown", "trials 2: an index into a list of architectures that the file does not hold", 1)
    ]


def test_g25_g27_states_and_values_that_contradict_each_other(tmp_path: Path) -> None:
    """Completed with NaN, failed with a value, nothing but successes, files that hold nothing."""
    rows = [row(number) for number in range(20)]
    assert told(look(tmp_path, rows), "G27") == [
        ("doubtful", "all 20 trials completed: failed ones may have been left out", 20)
    ]
    rows[0]["value"] = float("nan")
    rows[1]["state"] = "FAIL"
    rows[2]["state"] = "LOST"
    found = look(tmp_path, rows)
    assert told(found, "G25") == [("wrong", "trials 0: completed without a finite value (missing, NaN or infinite)", 1)]
    assert told(found, "G35") == [("wrong", "trials 1: failed, and have a value all the same", 1)]
    assert told(found, "G27") == [("unknown", "trials 2: no known state (LOST)", 1)]
    (tmp_path / "empty.json").touch()
    assert told(audit(read_old_results([tmp_path / "empty.json"])), "G25") == [("wrong", "the file is empty", 1)]


def test_g22_the_same_results_under_two_names_are_found(tmp_path: Path) -> None:
    """Six files carried another experiment's results."""
    rows = [row(number) for number in range(3)]
    look(tmp_path, rows, name="h1.json")
    look(tmp_path, rows, name="h5.json")
    found = audit(read_old_results([tmp_path]))
    ((level, text, records),) = told(found, "G22")
    assert (level, text, records) == ("wrong", f"the same 3 results as in {tmp_path / 'h5.json'}", 3)


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    """By its own name, by its folder, and by a link: else every trial would repeat itself."""
    look(tmp_path, [row(number) for number in range(3)])
    (tmp_path / "link.json").symlink_to(tmp_path / "trials.json")
    found = audit(read_old_results([tmp_path / "trials.json", tmp_path, tmp_path / ".." / tmp_path.name]))
    assert (found.records, found.files, told(found, "G30"), told(found, "G22")) == (3, 1, [], [])


def test_the_table_has_the_worst_first_and_escapes_what_files_say(tmp_path: Path) -> None:
    """A state may be anything."""
    rows = [{**row(0), "state": "<script>|"}, row(1, 100.0), row(2, 100.0)]
    text = "\n".join(audit_lines(look(tmp_path, rows)))
    assert "Records: 3, in files: 1. States: 1 " in text
    assert "Findings: 2 wrong, " in text
    assert text.index("| wrong ") < text.index("| unknown ")
    assert "no known state (\\<script>\\|)" in text


def test_numbers_that_no_float_holds_are_missing(tmp_path: Path) -> None:
    """Infinite counts, integers of 400 digits, and a label of nothing are looked at without an error."""
    odd = 10**400
    rows = [row(number) for number in range(4)]
    rows[0]["user_attrs"] |= {"val_samples": float("inf"), "param_count": odd, "data": {"fingerprint": 5}}
    rows[1]["params"] |= {"d_model": odd, "n_layers": float("nan")}
    rows[2] |= {"value": odd, "seed": odd, "number": odd}
    path = tmp_path / "models_0M.json"
    path.write_text(json.dumps(rows))
    records = read_old_results([path])

    assert [record.value is None for record in records] == [False, False, True, False]
    assert (records[0].stated_parameters, records[0].fingerprint, records[2].number) == (None, None, None)
    found = audit(records, count=lambda values: 1000)
    assert told(found, "G25") == [
        ("wrong", f"trials {path}[2]: completed without a finite value (missing, NaN or infinite)", 1)
    ]
    assert told(found, "G04") == []


def test_a_file_that_is_nested_without_end_is_no_result(tmp_path: Path) -> None:
    """It is reported as a file that cannot be read."""
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    (record,) = read_old_results([path])
    assert record.problem == "the file cannot be read as JSON: it is nested too deep"

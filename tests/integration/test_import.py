"""Old results into a study: every record gets a verdict, nothing is believed, nothing is taken twice."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from scalecore.errors import RefusedError
from scalecore.plugins.registry import Registry, load_registry
from scalecore.study.importing import import_results
from scalecore.study.layout import StudyFolder
from scalecore.study.lock import StudyLock
from scalecore.study.verdicts import Verdict

from .conftest import Study

SHAPE = {"d_model": 16, "n_layers": 2, "n_heads": 1, "d_ff": 32}
PARAMS = {**SHAPE, "learning_rate": 2e-3, "dropout": 0.15}
COUNT = 4881


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def old(**changes: Any) -> dict[str, Any]:
    """A record of the first of the two old shapes."""
    return {"number": 1, "value": 0.62, "state": "COMPLETE", "params": PARAMS, **changes}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in PARAMS.items() if name not in names}


def judged(study: Study, registry: Registry, *records: Any, **options: Any) -> list[Verdict]:
    study.write()
    path = study.root / "old.json"
    path.write_text(json.dumps(list(records)))
    study.experiment["output"] = str(study.folder)
    study.write()
    return import_results([path], study.file, registry=registry, **options)[1]


FORCED = {f"forced_{name}": value for name, value in PARAMS.items()}


@pytest.mark.parametrize(
    ("record", "verdict", "reason"),
    [
        (old(), "taken", None),
        (old(state="TrialState.COMPLETE", user_attrs={"accuracy": 0.5}), "taken", None),
        (old(params={}, user_attrs=FORCED), "taken", None),
        (old(params=without(*SHAPE), user_attrs={"architecture": {**SHAPE, "param_count": COUNT}}), "taken", None),
        (old(params=without(*SHAPE), user_attrs=dict(SHAPE)), "taken", None),
        (old(params=without("d_ff")), "taken", None),
        (old(state="PRUNED"), "taken", None),
        (old(params=without("dropout")), "taken with missing parameters", "it has no dropout"),
        (old(state="FAIL", value=None), "refused", "it ended as failed: no result"),
        (old(state="RUNNING"), "refused", "its state is 'RUNNING': no result"),
        (old(value=float("nan")), "refused", "it ended as completed without a finite value"),
        (
            old(params={"arch_idx": 0, "learning_rate": 2e-3}),
            "refused",
            "it names its architecture by the position 0, which says nothing without the list that it points into "
            "[G21]",
        ),
        (old(params={}), "refused", "it names no architecture: none of d_model, n_layers, n_heads, d_ff is in it"),
        (
            old(params={**PARAMS, "n_layers": 4, "d_ff": 64}),
            "refused",
            "d_model=16,n_layers=4,n_heads=1,d_ff=64 has 13,553 parameters, outside of the budget (1,600 to 6,400)",
        ),
        (
            old(params={**PARAMS, "d_model": 7}),
            "refused",
            "d_model=7,n_layers=2,n_heads=1,d_ff=32 is no architecture of the model's grid",
        ),
        (
            old(params=without("n_layers", "d_ff")),
            "refused",
            "it has no n_layers, d_ff, and 3 architectures have d_model=16,n_heads=1",
        ),
        (old(params={**PARAMS, "dropout": 0.9}), "refused", "dropout=0.9 is outside of the study's space"),
        (
            old(params={**PARAMS, "dropout": 10**400}),
            "refused",
            f"dropout={10**400} is outside of the study's space",
        ),
        (old(user_attrs={"data": {"fingerprint": 5}}), "taken", None),
        (old(params={**PARAMS, "epochs": 50}), "refused", "epochs=50, in this study it is fixed at 2"),
        (
            old(user_attrs={"architecture": {**SHAPE, "d_model": 8}}),
            "refused",
            "it contradicts itself: d_model is 16 and 8",
        ),
        ({"name": "no trial"}, "refused", "this is no trial: it has neither `state` nor `params`"),
    ],
)
def test_every_record_gets_its_verdict(
    study: Study, registry: Registry, record: Any, verdict: str, reason: str | None
) -> None:
    """Both old shapes, forced trials whose values are attributes (G20), and every way to be no result of this study."""
    (found,) = judged(study, registry, record, dry_run=True)
    assert (found.verdict, found.reason) == (verdict, reason)
    if verdict == "taken":
        assert found.architecture is not None
        assert dict(found.architecture.values) == SHAPE
        assert dict(found.hyperparameters) == {"learning_rate": 2e-3, "dropout": 0.15}
    assert not study.folder.exists(), "a dry run writes nothing"


def test_g04_parameters_are_counted_never_believed(study: Study, registry: Registry) -> None:
    """A label that is not true is noted beside the count."""
    (found,) = judged(study, registry, old(user_attrs={"param_count": 200_000_000}), dry_run=True)
    assert found.architecture is not None
    assert found.architecture.num_parameters == COUNT
    assert found.notes[0] == "it says 200,000,000 parameters; counted for this study they are 4,881"


def test_importing_twice_changes_nothing(study: Study, registry: Registry) -> None:
    """The second time all is known already, within a file and from file to file; the journal stays as it is."""
    first = judged(study, registry, old(), old(number=2), old(number=3, value=0.7))
    assert [one.verdict for one in first] == ["taken", "duplicate", "taken"]
    before = (study.folder / "journal.jsonl").read_bytes()
    assert [one.reason for one in judged(study, registry, old(number=9))] == ["it is imported already"]
    assert (study.folder / "journal.jsonl").read_bytes() == before


def test_a_folder_for_which_nothing_was_taken_is_not_left(study: Study, registry: Registry) -> None:
    """What does not come about leaves no trace."""
    assert [one.verdict for one in judged(study, registry, old(state="FAIL"))] == ["refused"]
    assert not study.folder.exists()


def test_imported_results_teach_and_are_no_trials(study: Study) -> None:
    """A study begun by them runs its whole total, names none of them as its best, and tells that they teach.

    Its own trial files, read into a study of another seed, are proven to be comparable; into itself, they are known.
    """
    study.experiment["search"]["trials"] = 2
    study.write()
    path = study.root / "old.json"
    path.write_text(json.dumps([old(value=0.01), old(state="FAIL")]))
    done = study.cli("import", str(path), "--into", str(study.file), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["counts"] == {"taken": 1, "taken with missing parameters": 0, "duplicate": 0, "refused": 1}
    assert "not begun" in study.cli("status", str(study.folder)).stdout
    assert study.cli("import", str(path) + "x", "--into", str(study.file)).returncode == 2

    assert study.run().returncode == 0
    assert sorted(study.finished()) == [0, 1]
    assert study.json("tiny_4000_best.json")["best_value"] > 0.01
    status = json.loads(study.cli("status", str(study.folder), "--json").stdout)
    assert (status["finished"], status["search"]["imported"]) == (2, {"count": 1, "comparable": 0})

    own = study.cli("import", str(study.folder / "trials"), "--into", str(study.folder), "--json")
    assert [one["reason"] for one in json.loads(own.stdout)["records"]] == [
        "it is trial 0 of this study",
        "it is trial 1 of this study",
    ]
    study.experiment |= {"name": "other", "seed": 6}
    study.write()
    other = study.cli("import", str(study.root / "studies/tiny"), "--into", str(study.file), "--dry-run", "--json")
    assert [one["comparable"] for one in json.loads(other.stdout)["records"]] == [True, True]


def test_g07_results_of_other_data_are_refused_unless_asked_for(study: Study, registry: Registry) -> None:
    """A known fingerprint that differs: the value cannot be compared, unless the user takes it knowingly."""
    record = old(user_attrs={"data": {"fingerprint": "0" * 64}})
    (refused,) = judged(study, registry, record, dry_run=True)
    assert refused.reason is not None
    assert refused.reason.startswith("it was measured on other data (fingerprint 000000000000, here ")
    assert refused.reason.endswith("its value cannot be compared [G07]; --allow-other-data takes it all the same")
    (taken,) = judged(study, registry, record, dry_run=True, other_data=True)
    assert (taken.verdict, taken.comparable) == ("taken", False)


def test_unreadable_files_are_told_and_the_others_are_read(study: Study, registry: Registry) -> None:
    """Empty files and text are refused by name; a folder stands for all its files."""
    folder = study.root / "old"
    folder.mkdir()
    (folder / "a.json").write_text("")
    (folder / "b.json").write_text("{")
    (folder / "c.json").write_text(json.dumps(old()))
    study.write()
    verdicts = import_results([folder], study.file, registry=registry, dry_run=True)[1]
    assert [Path(one.record.source).name for one in verdicts] == ["a.json", "b.json", "c.json"]
    assert [one.verdict for one in verdicts] == ["refused", "refused", "taken"]
    assert verdicts[0].reason == "the file is empty"


def test_g22_an_import_leaves_a_run_that_has_just_begun_alone(study: Study, registry: Registry) -> None:
    """Refused while another holds the folder, it removes nothing there, though there is no journal yet."""
    study.folder.mkdir(parents=True)
    lock = StudyLock(StudyFolder(study.folder))
    with pytest.raises(RefusedError, match=re.escape(f"this study is being run by process {os.getpid()} on ")):
        judged(study, registry, old())
    assert lock.still_ours()
    lock.release()

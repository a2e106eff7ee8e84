"""Description and notes of a study, from the file and the command line to the journal and the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from .conftest import Study


def test_notes_during_a_run_are_journalled_by_its_driver(study: Study) -> None:
    """Two at once, with the description before and after a change; the report page shows all of it."""
    study.experiment |= {"model": "linear", "search": {"use": "random", "trials": 2}, "description": "What is known:\n"}
    study.experiment["training"] |= {"device": "cpu", "hyperparameters": {"epochs": 2}}
    study.experiment["guards"] = {"min_validation_samples": 20, "min_validation_positives": 5}
    curve = "attempts/trial_0000/attempt_0/epochs.jsonl"
    study.hold(curve)
    process = study.start()
    worker = study.held(curve)

    status = [study.command("status", str(study.folder), "--note", text) for text in ("fan <b>replaced</b>", "b\nc")]
    started = [subprocess.Popen(one, env=study.environment, stdout=subprocess.DEVNULL) for one in status]
    assert [one.wait(timeout=120) for one in started] == [0, 0]
    study.wait_for(lambda: sum(event["event"] == "note" for event in study.events()) == 2, "the notes")
    assert process.poll() is None
    study.wait_for(lambda: not list((study.folder / "notes").iterdir()), "the removal of the files")
    os.kill(worker, signal.SIGCONT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "note: b\\nc" in output

    planned = study.cli("plan", str(study.file)).stdout
    assert "description: What is known:\n" in planned
    study.experiment["description"] = "Nothing is known."
    study.run()
    shown = json.loads(study.cli("status", str(study.file), "--json").stdout)
    assert shown["description"] == "Nothing is known."
    assert sorted(note["text"] for note in shown["notes"]) == ["b\nc", "fan <b>replaced</b>"]
    assert shown["notes"] == sorted(shown["notes"], key=lambda note: note["written"])
    study.cli("verify", str(study.folder))
    study.cli("report", str(study.folder))
    page = (study.folder / "analyses" / "report" / "report.html").read_text()
    assert "Nothing is known." in page
    assert "fan &lt;b&gt;replaced&lt;/b&gt;" in page


def test_a_note_on_a_campaign_belongs_to_each_begun_study(study: Study) -> None:
    """The campaign shows it once; before any study has begun it is refused."""
    study.experiment |= {"model": "linear", "search": {"use": "random", "trials": 1}, "sweep": {"seed": [1, 2, 3]}}
    study.experiment["training"] |= {"device": "cpu", "hyperparameters": {"epochs": 1}}
    study.experiment["guards"] = {"min_validation_samples": 20, "min_validation_positives": 5}
    for seed in (1, 3):
        study.run("--only", f"seed-{seed}")
    done = study.cli("status", str(study.file), "--note", "power cut at noon")
    assert [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("note ")] == [
        "power cut at noon"
    ]
    for seed, expected in ((1, 1), (3, 1)):
        one = Study(study.root, {"name": f"tiny/seed-{seed}"})
        assert sum(event["event"] == "note" for event in one.events()) == expected
    assert not (study.folder / "seed-2").exists()

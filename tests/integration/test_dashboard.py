"""`scalecore dashboard` as a user opens it: over HTTP, and in a real browser where there is one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from .conftest import Study, kill, tiny_experiment


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> Study:
    """A finished study of two trials with two mirrors, whose driver was killed in between."""
    study = Study(tmp_path_factory.mktemp("mirrored"), tiny_experiment(bars))
    study.experiment["loggers"] = ["console", {"use": "optuna", "storage": "sqlite:///study.db"}, "optuna"]
    study.experiment["search"]["trials"] = 2
    study.hold("trial_0001/attempt_0/epochs.jsonl")
    process = study.start()
    worker = study.held("trial_0001/attempt_0/epochs.jsonl")
    # A lock that a killed writer leaves keeps Optuna's journal closed for longer than a run waits for its mirror.
    study.wait_for(lambda: not (study.folder / "optuna.journal.lock").is_symlink(), "the mirror's writer")
    kill(process)
    os.kill(worker, signal.SIGKILL)
    done = study.run()
    assert done.returncode == 0, done.stderr
    assert "warning: mirror" not in done.stdout
    return study


@contextmanager
def dashboard(study: Study, *arguments: str) -> Iterator[tuple[str, list[str]]]:
    """The address that the command prints, and the lines before it; ended by Ctrl-C."""
    environment = {**study.environment, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        study.command("dashboard", str(study.folder), "--port", "0", *arguments),
        cwd=study.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            if match := re.search(r"http://\S+", line):
                break
            lines.append(line.strip())
        else:
            raise AssertionError("\n".join(lines))
        yield match[0], lines
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert rest.splitlines()[-1:] == ["dashboard ended"], rest
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def told(address: str, path: str) -> Any:
    with urlopen(re.sub(r"/dashboard/.*", path, address), timeout=30) as answer:
        return json.load(answer)


def trials_of(address: str) -> list[dict[str, Any]]:
    number = address.rpartition("/")[2]
    found: list[dict[str, Any]] = told(address, f"/api/studies/{number}?after=0")["trials"]
    return found


def check_shown(trials: list[dict[str, Any]], study: Study) -> None:
    """Architecture, state, learning curve and attributes of every trial are those of its record."""
    records = study.finished()
    assert [trial["state"] for trial in trials] == ["Complete"] * len(records)
    for trial, (number, record) in zip(trials, sorted(records.items()), strict=True):
        params = {one["name"]: float(one["param_internal_value"]) for one in trial["params"]}
        assert params["d_model"] == record["architecture"]["values"]["d_model"]
        assert params["learning_rate"] == pytest.approx(record["hyperparameters"]["learning_rate"])
        assert len(trial["intermediate_values"]) == len(record["learning_curve"])
        attributes = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert (attributes["trial"], attributes["hash"]) == (str(number), record["hash"])
        assert attributes["origin"] == record["origin"]["kind"]
        assert attributes["parameters"] == str(record["architecture"]["num_parameters"])


def test_the_dashboard_opens_the_mirror(mirrored: Study) -> None:
    """On loopback only, with everything of each trial; asked for under another name, it refuses."""
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: scalecore-optuna[dashboard]")
    with dashboard(mirrored) as (address, lines):
        assert address.startswith("http://127.0.0.1:")
        assert lines == ["shown from the mirror sqlite:///study.db"]
        check_shown(trials_of(address), mirrored)
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(address, headers={"Host": "elsewhere.example:80"}), timeout=30)
        # At port 80 a browser leaves the port out.
        with urlopen(Request(address, headers={"Host": "localhost"}), timeout=30) as answer:
            assert answer.status == 200


def test_the_dashboard_is_made_from_the_journal_where_the_mirror_is_lost(mirrored: Study) -> None:
    """A mirror that is gone or behind is no obstacle, and is made again by the next run."""
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: scalecore-optuna[dashboard]")
    (mirrored.folder / "study.db").unlink()
    with dashboard(mirrored) as (address, lines):
        assert lines == ["mirror sqlite:///study.db cannot be read: it is not there; shown from the study's journal"]
        check_shown(trials_of(address), mirrored)
    assert mirrored.run("search.trials=2").returncode == 0
    with dashboard(mirrored) as (_, lines):
        assert lines == ["shown from the mirror sqlite:///study.db"]


def test_without_optuna_dashboard_the_message_says_what_to_install(mirrored: Study) -> None:
    """The plugin is there, its extra is not."""
    folder = mirrored.root / "missing"
    folder.mkdir()
    (folder / "optuna_dashboard.py").write_text("raise ImportError('not installed')")
    done = Study(mirrored.root, mirrored.experiment, path=[str(folder)]).cli("dashboard", str(mirrored.folder))
    assert done.returncode == 3
    assert done.stderr.strip() == (
        "optuna-dashboard is not installed; `pip install 'scalecore-optuna[dashboard]'` provides it"
    )
    without = mirrored.cli("dashboard", str(mirrored.folder), "--no-plugins")
    assert (without.returncode, without.stderr.strip()) == (
        3,
        "no installed plugin has a dashboard; `pip install 'scalecore-optuna[dashboard]'` provides one",
    )


def test_a_running_study_in_a_real_browser(study: Study) -> None:
    """The running trial is there with its architecture and the curve so far, in the page that a user sees."""
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: scalecore-optuna[dashboard]")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed here")
    study.experiment["training"] |= {"hyperparameters": {"epochs": 100_000}, "early_stopping": None}
    run = study.start("-q", "search.trials=1")
    try:
        study.wait_for(lambda: any(study.folder.glob("attempts/trial_0000/*/epochs.jsonl")), "an epoch")
        os.environ.setdefault("PLAYWRIGHT_SKIP_VALIDATE_HOST_REQUIREMENTS", "1")
        with dashboard(study) as (address, lines), playwright.sync_playwright() as engine:
            assert lines == ["the study has no mirror; shown from its journal"]
            browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"{address}/trials?numbers=0")
            page.get_by_text("Trial 0 (trial_id=0)").wait_for(timeout=60_000)
            text = page.inner_text("body")
            browser.close()
        assert "Running" in text
        for name in ("d_model", "n_layers", "learning_rate", "Intermediate Values", "origin", "forced", "parameters"):
            assert name in text, name
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)

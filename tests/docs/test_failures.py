"""The pages on failures match the code."""

from __future__ import annotations

import re
from typing import get_args

from scalecore.api import errors
from scalecore.api.errors import ExitCode, ScalecoreError
from scalecore.api.trials import StudyEnd, TrialState
from scalecore.config.experiment import Execution, Retry
from scalecore.config.fields import fields_of
from scalecore.execution.attempt_result import EndClass
from scalecore.study.build_record import STATE_OF


def section(page: str, title: str) -> str:
    """The text under a heading."""
    (found,) = re.findall(rf"^## {re.escape(title)}.*?\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return found


def test_every_class_of_an_attempt_has_a_row_with_the_state_that_follows(handbook: dict[str, str]) -> None:
    """Each class has the state that the code assigns."""
    table = section(handbook["failures.md"], "An attempt ends")
    lines = [line.strip().strip("|") for line in table.splitlines() if line.startswith("|")]
    rows = {cells[0]: cells[-1] for line in lines if len(cells := [one.strip() for one in line.split("|")]) == 4}
    told = {name.strip("`"): last for name, last in rows.items() if re.fullmatch(r"`\w+`", name)}
    assert set(told) == set(get_args(EndClass))
    for name, last in told.items():
        state = re.match(r"`(\w+)`", last)
        if name in ("stopped", "interrupted"):
            assert state is None, name
        else:
            assert state is not None, name
            assert TrialState(state[1]) is STATE_OF.get(name, TrialState.FAILED), name


def test_the_keys_of_the_failure_policy_are_those_of_the_code(handbook: dict[str, str]) -> None:
    """The page names each; the reference that it links has their defaults."""
    fields = {one.name: one.default for one in fields_of(Execution)}
    fields |= {f"retry.{one.name}": one.default for one in fields_of(Retry)}
    rows = re.findall(r"^\| `([\w.]+)` \| .*? \| `([\d.]+)` \|", handbook["reference/experiment-file.md"], re.MULTILINE)
    defaults = dict(rows)
    assert "(reference/experiment-file.md#execution)" in handbook["failures.md"]
    for name in ("retry.crash", "retry.out_of_memory", "hang_after", "stop_grace", "admission_wait"):
        assert f"`{name}`" in handbook["failures.md"], name
        assert fields[name] == float(defaults[name]), name


def test_every_end_of_a_study_has_its_exit_code(handbook: dict[str, str]) -> None:
    """The table has the exit codes of `scalecore run`."""
    table = section(handbook["failures.md"], "The study ends early")
    told = dict(re.findall(r"^\| `(\w+)` \| .*? \| (\d).*? \|", table, re.MULTILINE))

    assert {StudyEnd(end): ExitCode(int(code)) for end, code in told.items()} == {
        end: end.exit_code for end in StudyEnd
    }


def test_every_error_and_exit_code_has_its_part_in_troubleshooting(handbook: dict[str, str]) -> None:
    """A heading names the class and the code, and messages follow."""
    page = handbook["troubleshooting.md"]
    classes = [
        one
        for one in (getattr(errors, name) for name in errors.__all__)
        if isinstance(one, type) and ScalecoreError in one.__bases__  # a kind of one of these has its code
    ]
    assert len(classes) >= 5
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    for one in classes:
        (heading,) = [text for text in headings if f"`{one.__name__}`" in text]
        assert heading.endswith(f"exit code {int(one.exit_code)}")
        (body,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert len(re.findall(r"^\| \*", body, re.MULTILINE)) >= 5, heading
    codes = {int(code) for heading in headings for code in re.findall(r"\d+", heading)}
    assert codes == {int(code) for code in ExitCode if code is not ExitCode.COMPLETED}

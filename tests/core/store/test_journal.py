from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api.errors import RefusedError, StudyError
from scalecore.api.trials import StudyEnd
from scalecore.store.events import FORMAT, Event, RunEnded, StudyBegun
from scalecore.store.journal import Journal, read_journal
from scalecore.store.state import read_state
from scalecore.testing.plans import make_plan

EXPERIMENT = {
    "name": "x",
    "dataset": {},
    "model": {},
    "training": {},
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "search": {"trials": 3},
}
BEGUN = StudyBegun(format=FORMAT, experiment=EXPERIMENT, plan=make_plan())
ENDED = RunEnded(end=StudyEnd.STOPPED)


def written(path: Path, events: int) -> list[Event]:
    journal = Journal(path)
    lines = [journal.append(evolve(BEGUN, plan=make_plan(trials=number))) for number in range(events)]
    journal.close()
    return lines


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    """Every event is read back in order, with its running number."""
    events = written(tmp_path / "journal.jsonl", 3)
    assert list(read_journal(tmp_path / "journal.jsonl")) == events
    assert [event.seq for event in events] == [0, 1, 2]


def test_a_journal_that_was_replayed_is_continued_without_reading_it_again(tmp_path: Path) -> None:
    """It uses the number of lines, without an incomplete last one."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(BEGUN)
    journal.close()
    with path.open("ab") as stream:
        stream.write(b'{"seq":1')
    again = Journal(path, lines=read_state(path).events)
    again.append(ENDED)
    again.close()
    assert [event.seq for event in read_journal(path)] == [0, 1]


@pytest.mark.slow
def test_g24_a_torn_last_line_is_set_aside_at_every_cut(tmp_path: Path) -> None:
    """Truncated anywhere in its last line, a journal opens with all lines before it and can be continued."""
    path = tmp_path / "journal.jsonl"
    written(path, 3)
    whole = path.read_bytes()
    start_of_last = whole[:-1].rfind(b"\n") + 1
    for cut in range(start_of_last + 1, len(whole)):
        path.write_bytes(whole[:cut])
        for aside in tmp_path.glob("journal.torn-*"):
            aside.unlink()
        journal = Journal(path)
        assert [event.seq for event in read_journal(path)] == [0, 1]
        assert journal.torn is not None
        assert journal.torn.read_bytes() == whole[start_of_last:cut]
        journal.append(ENDED)
        journal.close()
        assert [event.seq for event in read_journal(path)] == [0, 1, 2]


def test_torn_lines_that_were_set_aside_are_kept(tmp_path: Path) -> None:
    """Even if the user removed the first of them."""
    path = tmp_path / "journal.jsonl"
    for number in range(3):
        with path.open("ab") as stream:
            stream.write(b"torn %d" % number)
        Journal(path).close()
        if number == 1:
            (tmp_path / "journal.torn-0.jsonl").unlink()
    assert (tmp_path / "journal.torn-1.jsonl").read_bytes() == b"torn 1"
    assert (tmp_path / "journal.torn-0.jsonl").read_bytes() == b"torn 2"


def test_a_damaged_line_in_the_middle_is_refused_with_its_number(tmp_path: Path) -> None:
    """Silently dropping it would lose recorded results."""
    path = tmp_path / "journal.jsonl"
    written(path, 3)
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"', b"\0", 1)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(
        StudyError, match=r"journal\.jsonl:2: the journal is damaged in this line\. Nothing was changed\."
    ):
        Journal(path)
    assert path.read_bytes() == b"\n".join(lines)


def test_a_missing_line_is_noticed(tmp_path: Path) -> None:
    """The running numbers show a missing line."""
    path = tmp_path / "journal.jsonl"
    written(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(StudyError, match=r"journal\.jsonl:2:"):
        list(read_journal(path))


def test_g25_not_a_number_is_stored_as_null(tmp_path: Path) -> None:
    """The journal is strict JSON: NaN and infinity become null."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(evolve(BEGUN, experiment={**EXPERIMENT, "value": float("nan"), "curve": [float("inf"), 1.0]}))
    journal.close()
    line = (tmp_path / "journal.jsonl").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(line, parse_constant=refuse)["experiment"]
    assert content["value"] is None
    assert content["curve"] == [None, 1.0]


def test_a_full_disk_takes_the_line_back(tmp_path: Path) -> None:
    """If the disk is full, the append fails and the journal is unchanged."""
    path = tmp_path / "journal.jsonl"
    written(path, 2)
    size = path.stat().st_size
    script = f"""
import resource, signal
from pathlib import Path
from scalecore.store.events import Degraded
from scalecore.store.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path({str(path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 20}, {resource.RLIM_INFINITY}))
try:
    journal.append(Degraded(message="x" * 100))
except OSError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert path.stat().st_size == size
    assert len(list(read_journal(path))) == 2


def test_g46_a_journal_that_is_one_with_another_is_made_its_own(tmp_path: Path) -> None:
    """A hard-linked copy continues independently, and the original is unchanged."""
    original, copy = tmp_path / "journal.jsonl", tmp_path / "copy.jsonl"
    written(original, 2)
    before = original.read_bytes()
    os.link(original, copy)
    journal = Journal(copy)
    journal.append(ENDED)
    journal.close()
    assert original.read_bytes() == before
    assert len(list(read_journal(copy))) == 3


@pytest.mark.parametrize("there", [True, False])
def test_a_journal_that_is_a_link_is_refused(tmp_path: Path, there: bool) -> None:
    """The target belongs to another study, or does not exist."""
    path = tmp_path / "journal.jsonl"
    path.symlink_to(tmp_path / "elsewhere")
    if there:
        (tmp_path / "elsewhere").write_text("")
    with pytest.raises(RefusedError) as caught:
        Journal(path)
    text = f"{path} is a symbolic link to a file elsewhere; put the file itself in its place"
    assert str(caught.value) == text
    assert (tmp_path / "elsewhere").exists() is there

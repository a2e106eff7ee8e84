"""Whether the machine may fall asleep, and what keeps it awake. `systemd-inhibit` and `busctl` are replaced by scripts
where no systemd-logind runs; one test starts the real ones on a separate message bus.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scalecore.monitoring import sleep
from scalecore.monitoring.sleep import Sleep, find_sleep, kept_awake, sleep_finding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the scripts stand for programs of Linux")

LOGIND = Path("/lib/systemd/systemd-logind")

# Like the real program: it holds the lock while the command runs, and passes its input on, which a command in the
# background would not get by itself. It denies what the file `denied` names.
INHIBIT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *"--what=$(cat {denied} 2>/dev/null || echo nothing)"*) echo "Failed to inhibit: Access denied" >&2; exit 1;;
esac
while [ "${{1#--}}" != "$1" ]; do shift; done
exec 3<&0
"$@" <&3 &
echo $$ > {pid}
wait
"""

WAIT = 60.0


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a program into a folder that is first in PATH."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def write(name: str, text: str) -> None:
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    return write


@pytest.fixture
def inhibit(tmp_path: Path, script: Callable[[str, str], None]) -> Path:
    """A folder in which a stand-in of `systemd-inhibit` writes its arguments and its process id."""
    files = {name: tmp_path / name for name in ("log", "pid", "denied")}
    script("systemd-inhibit", INHIBIT.format(**files))
    return tmp_path


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_machine_is_kept_awake_for_as_long_as_the_study_runs(inhibit: Path) -> None:
    """The program runs inside the block and has ended after it."""
    said: list[tuple[str, str]] = []
    with kept_awake("spy", wanted=True, say=lambda *one: said.append(one)):
        pid = int((inhibit / "pid").read_text())
        assert not ended(pid)
    assert ended(pid)
    assert said == [("info", "this machine is kept awake while the study runs (systemd-inhibit)")]
    assert (inhibit / "log").read_text().splitlines() == [
        "--who=scalecore --why=study spy runs --mode=block --what=sleep:idle sh -c echo; exec cat"
    ]


def test_it_ends_with_a_killed_driver(inhibit: Path) -> None:
    """kill -9 leaves no program that keeps the machine awake; Ctrl-C does not end it before the study."""
    code = (
        "import time; from scalecore.monitoring.sleep import kept_awake\n"
        "with kept_awake('spy', wanted=True, say=print):\n    print(flush=True); time.sleep(600)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline().startswith("info this machine is kept awake")
    pid = int((inhibit / "pid").read_text())
    assert os.getpgid(pid) != os.getpgid(driver.pid)
    assert not ended(pid)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    wait_for(lambda: ended(pid))


def test_without_the_right_to_prevent_sleep_idleness_is_inhibited(inhibit: Path) -> None:
    """As in a session over SSH."""
    (inhibit / "denied").write_text("sleep:idle")
    said: list[tuple[str, str]] = []
    with kept_awake("spy", wanted=True, say=lambda *one: said.append(one)):
        assert (inhibit / "log").read_text().splitlines()[-1].endswith("--what=idle sh -c echo; exec cat")
    assert [level for level, _ in said] == ["info"]


def test_what_was_refused_is_a_warning_if_the_machine_may_fall_asleep(
    inhibit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study on a machine that stays awake, or that cannot be asked, runs without a word; `plan` and `doctor` tell."""
    (inhibit / "denied").write_text("")
    found = Sleep(may=True, text="suspend after 30 min 00 s without activity (systemd-logind: IdleAction)")
    said: list[tuple[str, str]] = []
    for one in (found, Sleep(may=False, text="no"), Sleep(may=None, text="unknown")):
        monkeypatch.setattr(sleep, "find_sleep", lambda one=one: one)
        with kept_awake("spy", wanted=True, say=lambda *one: said.append(one)):
            pass
    assert said == [
        (
            "warning",
            f"this machine may fall asleep: {found.text}; it is not kept awake: systemd-inhibit: Failed to inhibit: "
            "Access denied",
        )
    ]


def test_a_study_that_does_not_want_it_starts_nothing(inhibit: Path) -> None:
    """`execution: {keep_awake: false}`."""
    with kept_awake("spy", wanted=False, say=pytest.fail):
        assert not (inhibit / "log").exists()


def logind(action: str = "ignore", *, can: str = "yes") -> str:
    """A stand-in of `busctl` that answers as systemd-logind 252 does."""
    values = [{"type": "s", "data": action}, {"type": "t", "data": 1_800_000_000}, {"type": "s", "data": "suspend"}]
    text = "\n".join(json.dumps(one) for one in values)
    answer = json.dumps({"type": "s", "data": [can]})
    return f"#!/bin/sh\ncase \"$*\" in *CanSuspend*) echo '{answer}';; *) echo '{text}';; esac\n"


@pytest.mark.parametrize(
    ("answers", "desktop", "gnome", "expected"),
    [
        ("#!/bin/sh\nexit 1\n", "", "", Sleep(may=None, text="systemd-logind does not answer")),
        ("#!/bin/sh\necho no JSON\n", "", "", Sleep(may=None, text="systemd-logind does not answer")),
        (logind(can="na"), "", "", Sleep(may=False, text="it cannot be suspended (systemd-logind)")),
        (logind(), "", "", Sleep(may=False, text="nothing suspends it when it is idle (systemd-logind)")),
        (
            logind("suspend"),
            "",
            "",
            Sleep(may=True, text="suspend after 30 min 00 s without activity (systemd-logind: IdleAction)"),
        ),
        (
            logind(),
            "ubuntu:GNOME",
            "'suspend'",
            Sleep(may=True, text="suspend after 15 min 00 s without activity (GNOME)"),
        ),
        (
            logind(),
            "GNOME",
            "'nothing'",
            Sleep(may=False, text="nothing suspends it when it is idle (systemd-logind)"),
        ),
        (logind(), "KDE", "", Sleep(may=None, text="the settings of the desktop KDE decide")),
    ],
)
def test_what_systemd_and_the_desktop_say(
    answers: str,
    desktop: str,
    gnome: str,
    expected: Sleep,
    script: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever does not answer is unknown, never a machine that stays awake."""
    script("busctl", answers)
    script("gsettings", f'#!/bin/sh\ncase "$3" in *type) echo "{gnome}";; *) echo 900;; esac\n')
    script("systemctl", "#!/bin/sh\necho inactive\n")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))  # no lid, whatever runs the test
    assert sleep._by_logind({"XDG_CURRENT_DESKTOP": desktop}) == expected


def test_a_login_screen_has_settings_of_its_own(script: Callable[[str, str], None]) -> None:
    """They cannot be read from a session over SSH."""
    script("busctl", logind())
    script("systemctl", "#!/bin/sh\necho active\n")
    assert sleep._by_logind({}).text.endswith("the settings of the desktop decide")


def test_the_settings_of_macos() -> None:
    """The line `sleep` of `pmset -g`, in minutes; 0 is never."""
    text = "System-wide power settings:\nCurrently in use:\n standby              1\n sleep                {}\n"
    assert sleep._by_pmset(text.format("10 (sleep prevented by caffeinate)")) == Sleep(
        may=True, text="after 10 min without activity (pmset)"
    )
    assert sleep._by_pmset(text.format("0")).may is False
    assert sleep._by_pmset("").may is None


def test_the_finding_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that cannot be asked is a warning too."""
    may = Sleep(may=True, text="after 10 min without activity (pmset)")
    unknown = Sleep(may=None, text="this is a container, and its host decides")
    found = []
    for one, wanted in ((may, True), (may, False), (unknown, True), (Sleep(may=False, text="it stays awake"), True)):
        monkeypatch.setattr(sleep, "find_sleep", lambda one=one: one)
        finding = sleep_finding(keep_awake=wanted)
        found.append((finding.level, finding.message, finding.remedy))
    asleep = "this machine may fall asleep: after 10 min without activity (pmset)"
    assert found == [
        ("warn", asleep, "a run asks the system to stay awake"),
        ("warn", asleep, "set execution.keep_awake, or change that setting"),
        (
            "warn",
            "cannot tell whether this machine may fall asleep: this is a container, and its host decides",
            "make sure that it stays awake",
        ),
        ("ok", "it stays awake", None),
    ]


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real systemd-logind on a separate system bus."""
    address = f"unix:path={tmp_path / 'bus'}"
    rules = "".join(
        f'<allow {one}="{kind}"/>'
        for one in ("send_type", "receive_type")
        for kind in ("method_call", "method_return", "signal", "error")
    )
    (tmp_path / "bus.conf").write_text(
        f"<busconfig><type>system</type><listen>{address}</listen><auth>EXTERNAL</auth>"
        f'<policy context="default"><allow user="*"/><allow own="*"/>{rules}</policy></busconfig>'
    )
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemons = [subprocess.Popen(["dbus-daemon", f"--config-file={tmp_path / 'bus.conf'}", "--nofork"], **quiet)]
    try:
        wait_for((tmp_path / "bus").exists)
        daemons.append(subprocess.Popen([str(LOGIND)], **quiet))
        wait_for(lambda: bool(sleep._answer("call", *sleep._LOGIND, "CanSuspend")))
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()


@pytest.mark.skipif(
    os.geteuid() != 0 or not LOGIND.exists() or sleep._output("dbus-daemon", "--version") == "",
    reason="only root can start systemd-logind, if it and dbus-daemon are installed",
)
@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd-logind runs already")
@pytest.mark.usefixtures("bus")
def test_the_real_logind_holds_the_lock_for_as_long_as_the_study_runs() -> None:
    """It lists the lock of a study inside the block, and none after it."""

    def locks() -> str:
        return sleep._output("systemd-inhibit", "--list")

    assert sleep._by_logind({}).may is not None
    with kept_awake("spy", wanted=True, say=lambda *_: None):
        (line,) = [line for line in locks().splitlines() if line.startswith("scalecore")]
        assert "sleep:idle study spy runs block" in " ".join(line.split())
    wait_for(lambda: "scalecore" not in locks())


def test_this_machine_is_asked() -> None:
    """Any machine gets an answer with its reason."""
    assert find_sleep().text

"""Whether this machine may fall asleep, and how a running study prevents it.

Linux: systemd-logind, through `busctl` and `systemd-inhibit`. macOS: `pmset` and `caffeinate`. Elsewhere, and in
containers, nothing is known, which is said and never taken for a machine that stays awake.
"""

from __future__ import annotations

import json
import os
import platform
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from scalecore.api import formatting
from scalecore.api.readings import Finding

SECONDS = 10.0
"""Longest time that a command of the system may take to answer."""

_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_GNOME = "org.gnome.settings-daemon.plugins.power"


@frozen(kw_only=True)
class Sleep:
    """Whether the machine may fall asleep; None if that cannot be found out. `text` is the reason."""

    may: bool | None
    text: str


def sleep_finding(*, keep_awake: bool) -> Finding:
    """The finding for `doctor` and `plan`; `keep_awake` is the setting of the study."""
    found = find_sleep()
    subject = "sleep"
    if found.may is False:
        return Finding(level="ok", subject=subject, message=found.text)
    if found.may is None:
        remedy = "make sure that it stays awake"
        message = f"cannot tell whether this machine may fall asleep: {found.text}"
        return Finding(level="warn", subject=subject, message=message, remedy=remedy)
    remedy = "a run asks the system to stay awake" if keep_awake else "set execution.keep_awake, or change that setting"
    return Finding(level="warn", subject=subject, message=f"this machine may fall asleep: {found.text}", remedy=remedy)


def find_sleep() -> Sleep:
    """Ask the system; takes some milliseconds."""
    if sys.platform == "darwin":
        return _by_pmset(_output("pmset", "-g"))
    if sys.platform != "linux":
        return Sleep(may=None, text=f"no way to ask {platform.system()} is known")
    if "microsoft" in platform.release().lower():
        return Sleep(may=None, text="Windows decides, outside of WSL")
    if any(Path(place).exists() for place in ("/run/systemd/container", "/.dockerenv", "/run/.containerenv")):
        return Sleep(may=None, text="this is a container, and its host decides")
    return _by_logind(os.environ)


def _by_logind(environment: Mapping[str, str]) -> Sleep:
    names = ("IdleAction", "IdleActionUSec", "HandleLidSwitch")
    answers = [*_answer("get-property", *_LOGIND, *names), *_answer("call", *_LOGIND, "CanSuspend")]
    if len(answers) != len(names) + 1:
        return Sleep(may=None, text="systemd-logind does not answer")
    action, microseconds, lid, can = answers
    if can == "['na']":
        return Sleep(may=False, text="it cannot be suspended (systemd-logind)")
    reasons = []
    if action not in ("ignore", "lock"):
        after = formatting.duration(float(microseconds) / 1e6)
        reasons.append(f"{action} after {after} without activity (systemd-logind: IdleAction)")
    if lid not in ("ignore", "lock") and any(Path("/proc/acpi/button/lid").glob("*")):
        reasons.append(f"{lid} when the lid is closed, also during a run (systemd-logind: HandleLidSwitch)")
    desktop = environment.get("XDG_CURRENT_DESKTOP", "")
    if "GNOME" in desktop:
        kind = _output("gsettings", "get", _GNOME, "sleep-inactive-ac-type").strip(" '\n")
        seconds = _output("gsettings", "get", _GNOME, "sleep-inactive-ac-timeout").strip()
        if kind not in ("nothing", "") and seconds.isdigit() and int(seconds) > 0:
            reasons.append(f"{kind} after {formatting.duration(float(seconds))} without activity (GNOME)")
        desktop = "" if kind else desktop
    if reasons:
        return Sleep(may=True, text="; ".join(reasons))
    if desktop or _output("systemctl", "is-active", "display-manager").strip() == "active":
        return Sleep(may=None, text=f"the settings of the desktop{f' {desktop}' if desktop else ''} decide")
    return Sleep(may=False, text="nothing suspends it when it is idle (systemd-logind)")


def _by_pmset(output: str) -> Sleep:
    """Judge by the settings that `pmset -g` lists as currently in use: `sleep  10 (...)` in minutes, 0 for never."""
    words = (line.split() for line in output.splitlines())
    minutes = next((line[1] for line in words if len(line) > 1 and line[0] == "sleep" and line[1].isdigit()), None)
    if minutes is None:
        return Sleep(may=None, text="pmset does not say")
    if minutes == "0":
        return Sleep(may=False, text="it does not sleep when it is idle (pmset)")
    return Sleep(may=True, text=f"after {minutes} min without activity (pmset)")


def _answer(*arguments: str) -> list[str]:
    """The values that `busctl` prints, one JSON object per line, as text; empty if there is no answer."""
    try:
        return [str(json.loads(line)["data"]) for line in _output("busctl", "--json=short", *arguments).splitlines()]
    except (ValueError, KeyError, TypeError):
        return []


def _output(*command: str) -> str:
    """What a command prints; empty if it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout


@contextmanager
def kept_awake(name: str, *, wanted: bool, say: Callable[[str, str], None]) -> Iterator[None]:
    """Keep the machine awake while the block runs, and no longer than this process, however it ends.

    `say` reports, with a level, that the system stays awake, or that the machine may fall asleep nevertheless.
    """
    if not wanted:
        yield
        return
    process, by = _inhibit(name)
    try:
        if process is not None:
            say("info", f"this machine is kept awake while the study runs ({by})")
        elif (found := find_sleep()).may:
            say("warning", f"this machine may fall asleep: {found.text}; it is not kept awake: {by}")
        yield
    finally:
        if process is not None:
            _end(process)


def _inhibit(name: str) -> tuple[subprocess.Popen[bytes] | None, str]:
    """Start a process that keeps the machine awake until its input ends, which is when this process ends or closes it.

    Returns the process with the name of its program, or None with the reason why there is none.
    """
    why = f"study {name} runs"
    inhibit = ["systemd-inhibit", "--who=scalecore", f"--why={why}", "--mode=block"]
    commands = {
        # Without a local session, `sleep` may be denied and `idle` is allowed.
        "linux": [[*inhibit, "--what=sleep:idle"], [*inhibit, "--what=idle"]],
        "darwin": [["caffeinate", "-i", "-m"]],
    }.get(sys.platform, [])
    problem = f"no way to ask {platform.system()} is known"
    for command in commands:
        try:
            # In a separate process group: Ctrl-C in the terminal must not end it before the study.
            process = subprocess.Popen(
                [*command, "sh", "-c", "echo; exec cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            return None, f"{command[0]}: {error.strerror}"
        assert process.stdout is not None
        if select.select([process.stdout], [], [], SECONDS)[0] and process.stdout.readline():
            return process, command[0]
        problem = f"{command[0]}: {_end(process) or 'no answer'}"
    return None, problem


def _end(process: subprocess.Popen[bytes]) -> str:
    """Close the input of the process and wait for its end; return the first line of its errors."""
    try:
        _, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
    return next(iter(errors.decode(errors="replace").strip().splitlines()), "")

"""A study in a real terminal: its output, and the state of the terminal after every kind of end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Callable

import pyte

from .conftest import WAIT, Study

SIZE = (80, 24)


class Terminal:
    """A run of the study in a pseudo-terminal, with the screen that a user would see."""

    def __init__(self, study: Study) -> None:
        study.write()
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        environment = {**study.environment, "TERM": "xterm-256color"}
        environment.pop("COLUMNS")
        self.process = subprocess.Popen(
            study.command("run", str(study.file)),
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=study.root,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(follower)
        self.raw = b""
        self.screen = pyte.Screen(*SIZE)
        self._reader = pyte.ByteStream(self.screen)

    def text(self) -> str:
        """The text of the screen, each bar as one `=`."""
        return re.sub(r"\s*[━╸╺]+\s*", " = ", "\n".join(line.rstrip() for line in self.screen.display).strip())

    def read(self, until: Callable[[], object] = lambda: False) -> None:
        """Read output until a condition is true or the program ends."""
        deadline = time.monotonic() + WAIT
        while not until():
            assert time.monotonic() < deadline, self.text()
            try:
                found = os.read(self.leader, 65536)
            except OSError:  # the other end is closed
                break
            self.raw += found
            self._reader.feed(found)

    def end(self) -> int:
        """Read to the end and return the exit code."""
        self.read()
        os.close(self.leader)
        # No mode of the terminal was changed, so none must be restored.
        assert re.findall(rb"\x1b\[\?[0-9]+[hl]", self.raw) == []
        assert not self.screen.cursor.hidden
        assert self.screen.cursor.x == 0
        return self.process.wait(timeout=WAIT)


def test_a_run_in_a_terminal_is_shown_and_ends_cleanly(study: Study) -> None:
    """Two running trials have a bar each; after kill -9 and after Ctrl-C the cursor is ready for a prompt."""
    study.experiment |= {"model": "linear", "search": {"use": "random", "trials": 2}}
    study.experiment["search"]["space"] = {"learning_rate": {"log_uniform": [1e-4, 1e-3]}}
    # Trials must not end on their own.
    study.experiment["training"] |= {"hyperparameters": {"epochs": 9999}, "early_stopping": None, "checkpoint_every": 9}
    study.experiment["execution"]["slots"] = 2
    study.experiment["monitors"] = [{"use": "memory", "min_free_gb": 0.1, "warn_free_gb": 0.2}]
    study.experiment["loggers"] = ["console"]
    row = r"^trial {} = epoch \d+/9999, \w+ \d+/\d+, val_loss 0\.\d{{4,}}, .* s$"

    def running(terminal: Terminal) -> bool:
        return all(re.search(row.format(number), terminal.text(), re.MULTILINE) for number in (0, 1))

    killed = Terminal(study)
    killed.read(until=lambda: running(killed))
    assert re.search(r"^study = 0 of 2, no best yet, ETA .*$", killed.text(), re.MULTILINE)
    assert re.search(r"^memory \d+\.\d GB$", killed.text(), re.MULTILINE)
    killed.process.kill()
    assert killed.end() == -9

    stopped = Terminal(study)
    stopped.read(until=lambda: running(stopped))
    os.write(stopped.leader, b"\x03")
    assert stopped.end() == 7
    assert " = " not in stopped.text()
    assert "SIGINT: writing checkpoints of running trials\n" in stopped.text()
    end = "tiny: stopped; run the same command again to resume (0 of 2 trials: none finished) results: "
    assert end in " ".join(stopped.text().split())
    assert re.search(r"^results:\s", stopped.text(), re.MULTILINE)  # a long path has a separate line

"""Run the commands of the documentation on examples/quickstart.yaml, and keep what they print.

`.venv/bin/python .ci/record_docs.py`, with all packages installed; about six minutes on two cores. It writes the
transcripts in docs/reference/output, the reference of the commands made with them, and the output of `run` that
docs/quickstart.md shows. Names of transcripts (`check plugins`) record these only; those that look at the
study need `run` before them. `--pages` makes the pages of the transcripts that there are, and runs nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "reference" / "output"
SHOWN = "docs/quickstart.md"
PROGRESS = re.compile(r" *trial \d+ of ")
LEFT_OUT = re.compile(rf"(reading|preparing|finding|checking|predicting|smoke|memory|warn)\b|{PROGRESS.pattern}")
"""Lines of `run` that pages leave out."""
LONGEST = 88
"""Characters of a line of `run` that pages show."""
QUICKSTART = "examples/quickstart.yaml"
STUDY = "studies/quickstart"
BLOCK = re.compile(rf"^```console\n\$ scalecore run {re.escape(QUICKSTART)}\n.*?^```$", re.DOTALL | re.MULTILINE)

# File, command, and how many lines are kept of the beginning and of the end; None for all.
TRANSCRIPTS: tuple[tuple[str, str, tuple[int, int] | None], ...] = (
    ("init", "init experiment.yaml --data spy_daily.parquet", None),
    ("check", f"check {QUICKSTART}", None),
    ("check-wrong", f"check {QUICKSTART} search.trails=5 model.d_model=big", None),
    ("plan", f"plan {QUICKSTART}", None),
    ("run", f"run {QUICKSTART}", None),
    ("status", f"status {STUDY}", None),
    ("doctor", "doctor", None),
    ("verify", f"verify {STUDY}", None),
    ("analyze", "analyze", None),
    ("analyze-coverage", f"analyze coverage {STUDY}", (24, 2)),
    ("report", f"report {STUDY}", (40, 1)),
    ("export", "export", None),
    ("export-csv", f"export csv {STUDY} path=results.csv", None),
    ("confirm", f"confirm {STUDY} --top 2 --seeds 3 --quiet", None),
    ("evaluate", f"evaluate {STUDY} --quiet", None),
    ("predict", "predict {MODEL} --dataset path=examples/data/switches.csv --last 3", None),
    ("data-ingest", "data ingest SPY=examples/data/spy_daily.parquet --store store", None),
    ("data-verify", "data verify --store store", None),
    ("import", "import old.json --into after.yaml --dry-run", None),
    ("plugins", "plugins", None),
    ("new", "new model my-mlp", None),
    ("plugins-schema", "plugins --schema", (12, 0)),
)


def record(names: Sequence[str]) -> None:
    """Run these commands, or all, in a folder of their own, in their order."""
    own = {path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")}
    if others := {one.dist.name for one in entry_points(group="scalecore") if one.dist} - own:
        raise SystemExit(
            f"uninstall {', '.join(sorted(others))}: transcripts show the packages of this repository only"
        )
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        shutil.copy(folder / "examples" / "data" / "spy_daily.parquet", folder)
        for file in ("before.py", "after.yaml"):
            (folder / file).write_text(code_of(ROOT / "docs" / "coming-from-optuna.md", file))
        if not names or "import" in names:
            subprocess.run(
                [sys.executable, "before.py"], cwd=folder, env=environment(), check=True, capture_output=True
            )
        for file, command, kept in TRANSCRIPTS:
            if names and file not in names:
                continue
            if "{MODEL}" in command:
                models = list(folder.glob(f"{STUDY}/promoted/*"))
                if not models:
                    raise SystemExit(f"{file}: no retrained model; name run and evaluate before it")
                command = command.replace("{MODEL}", models[0].relative_to(folder).as_posix())
            print(f"scalecore {command}", flush=True)
            save(file, command, printed(command, folder), kept=kept)
        if not names or "stop" in names:
            stopped(folder)


def stopped(folder: Path) -> None:
    """`stop` of a run that goes on."""
    more = [*call(f"run {QUICKSTART}"), "search.trials=12"]
    running = subprocess.Popen(more, cwd=folder, env=environment(), stdout=subprocess.DEVNULL)
    while "running" not in (text := printed(f"status {STUDY}", folder)) and running.poll() is None:
        time.sleep(0.5)
    assert running.poll() is None, text
    command = f"stop {STUDY} --wait"
    save("stop", command, printed(command, folder))
    running.wait()


def printed(command: str, folder: Path) -> str:
    """All that a command prints, without the place of the folder, and without other runs on this machine."""
    done = subprocess.run(call(command), cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    text = (done.stdout + done.stderr).replace(f"{folder}/", "").replace(str(folder), ".")
    return re.sub(r"^ *warn:? +other runs: .*\n", "", text, flags=re.MULTILINE)


def call(command: str) -> list[str]:
    """How this interpreter runs a command of scalecore."""
    return [sys.executable, "-m", "scalecore", *command.split()]


def environment() -> dict[str, str]:
    """One thread, and lines of one width whatever the terminal."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def save(file: str, command: str, text: str, *, kept: tuple[int, int] | None = None) -> None:
    """Keep a transcript, or its beginning and its end."""
    lines = text.rstrip("\n").split("\n")
    if kept is not None and len(lines) > sum(kept):
        lines = [*lines[: kept[0]], "...", *lines[len(lines) - kept[1] :]]
    (OUTPUT / f"{file}.txt").write_text("\n".join([f"$ scalecore {command}", *lines]) + "\n", encoding="utf-8")


def code_of(page: Path, file: str) -> str:
    """The code block of a page that begins with a comment that names the file."""
    block = re.compile(rf"^```\w+\n(# {re.escape(file)}\n.*?)^```$", re.DOTALL | re.MULTILINE)
    found = block.search(page.read_text(encoding="utf-8"))
    assert found is not None, file
    return found[1]


def shortened(text: str) -> str:
    """The transcript of `run`, with `...` for the preparation, most trials, and parts of long lines.

    Lines that announce a trial or report its progress are left out without `...`.
    """
    lines = text.rstrip("\n").split("\n")
    last = max((int(found[1]) for line in lines if (found := re.match(r"trial (\d+)  ", line))), default=0)
    kept: list[str] = []
    dropped = False
    for line in lines:
        number = re.match(r"trial (\d+)  ", line)
        in_middle = number is not None and 2 < int(number[1]) < last
        dropped = in_middle or bool(LEFT_OUT.match(line)) or (dropped and line.startswith("  "))
        if dropped:
            kept += ["..."] if kept[-1] != "..." and not PROGRESS.match(line) else []
        elif len(line) > LONGEST:
            in_the_middle = line.startswith(("trial ", "best: "))
            kept.append(f"{line[:45]} ... {line[-38:]}" if in_the_middle else f"{line[: LONGEST - 4]} ...")
        else:
            kept.append(line)
    return "\n".join(kept)


def make_pages() -> None:
    """The generated references, and the output of `run` where pages show it."""
    projects = sorted(ROOT.glob("packages/scalecore-*/pyproject.toml"))
    packages = [path.parent.name for path in projects if "[project.entry-points.scalecore]" in path.read_text()]
    for page, program, arguments in (
        ("experiment-file", "reference_options.py", []),
        ("plugins", "reference_options.py", packages),
        ("commands", "reference_commands.py", [str(OUTPUT)]),
    ):
        made = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(program)), *arguments],
            env=environment(),
            capture_output=True,
            check=True,
        )
        (ROOT / "docs" / "reference" / f"{page}.md").write_bytes(made.stdout)
    recorded = OUTPUT / "run.txt"
    if not recorded.is_file():
        print(f"{recorded.relative_to(ROOT)} is missing: {SHOWN} is unchanged until `run` is recorded")
        return
    shown = shortened(recorded.read_text(encoding="utf-8"))
    path = ROOT / SHOWN
    text, count = BLOCK.subn(lambda _: f"```console\n{shown}\n```", path.read_text(encoding="utf-8"))
    assert count == 1, SHOWN
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--pages"]:
        record(sys.argv[1:])
    make_pages()

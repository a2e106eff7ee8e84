"""Run examples/scaling-quick.yaml as a user would, and keep what it prints and draws for docs/scaling.md.

`.venv/bin/python .ci/record_scaling.py`, with all packages installed and nothing else running, since it records the
duration: about ten minutes on two cores. It writes output, duration and result of the analysis with its page to
examples/results/scaling-quick, three figures to docs/assets, and the parts of docs/scaling.md that show them. `--pages`
writes only these parts.
"""

from __future__ import annotations

import json
import re
import runpy
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from record_docs import ROOT, printed

KEPT = ROOT / "examples" / "results" / "scaling-quick"
ASSETS = ROOT / "docs" / "assets"
PAGE = ROOT / "docs" / "scaling.md"
PLAN, COMMAND = "plan examples/scaling-quick.yaml", "run examples/scaling-quick.yaml"
RESULT = "studies/scaling-quick/analyses/scaling-law"
FIGURES = {
    "scaling-quick-groups.svg": "Loss-relative-to-the-smallest-budget.svg",
    "scaling-quick-horizon-1.svg": "horizon-1-Loss-against-parameters.svg",
    "scaling-quick-horizon-5.svg": "horizon-5-Loss-against-parameters.svg",
}
"""The figures of the page, with their names in the result."""
SHOWN = re.compile(r"\[1/10\] |study  |budget-|confirm: written|scaling-law: |real ")
"""Beginnings of the lines of the run that the page shows."""
LONGEST = 92


def record() -> None:
    """Run the example in a temporary folder, and keep output, results, figures and duration."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / "plan.txt").write_text(f"$ scalecore {PLAN}\n{printed(PLAN, folder)}", encoding="utf-8")
        start = time.monotonic()
        text = printed(COMMAND, folder)
        minutes, seconds = divmod(round(time.monotonic() - start), 60)
        about = runpy.run_path(str(ROOT / "benchmarks" / "report.py"))["machine"]()
        used = f"{about['cores']} cores of {about['processor']}, load {about['load_1min']} at the end"
        took = f"real  {minutes} min {seconds} s on {used}"
        (KEPT / "run.txt").write_text(f"$ time scalecore {COMMAND}\n{text.rstrip()}\n\n{took}\n", encoding="utf-8")
        result = folder / RESULT
        if not result.is_dir():
            raise SystemExit(f"no result of scaling-law; see {KEPT / 'run.txt'}")
        copies = {
            KEPT / "result.json": "result.json",
            KEPT / "result.txt": "result.md",
            KEPT / "page.html": "figures.html",
        }
        copies |= {ASSETS / name: pattern for name, pattern in FIGURES.items()}
        for kept, pattern in copies.items():
            (found,) = result.rglob(pattern)
            kept.write_text(found.read_text(encoding="utf-8").replace(f"{folder}/", ""), encoding="utf-8")


def with_parts(text: str) -> str:
    """The page with its recorded parts."""
    result = json.loads((KEPT / "result.json").read_text(encoding="utf-8"))
    first, _, plan = (KEPT / "plan.txt").read_text(encoding="utf-8").partition("\n")
    parts = {
        "plan": "\n".join(["```console", first, "...", *plan[plan.index("The whole:") :].rstrip().split("\n"), "```"]),
        "run": shortened((KEPT / "run.txt").read_text(encoding="utf-8")),
        "losses": losses(result),
    }
    for name, part in parts.items():
        before, start, rest = text.partition(f"<!-- recorded: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"{PAGE}: {name}"
        text = f"{before}{start}\n{part}\n\n{end}{after}"
    return text


def shortened(text: str) -> str:
    """The lines of the run that introduce or conclude a study, with `...` for all others."""
    lines = text.rstrip("\n").split("\n")
    kept = lines[:1]
    for line in lines[1:]:
        if SHOWN.match(line):
            whole = len(line) <= LONGEST or line.startswith("scaling-law: ")
            kept.append(line if whole else f"{line[: LONGEST - 4]} ...")
        elif kept[-1] != "...":
            kept.append("...")
    return "\n".join(["```console", *kept, "```"])


def losses(result: dict[str, object]) -> str:
    """A table of the least possible and the measured loss of each budget and horizon."""
    least_loss = runpy.run_path(str(ROOT / "examples" / "data" / "make_load.py"))["least_loss"]
    lines = [
        "| group | budget | chosen shape | least possible loss | mean of seeds | spread of seeds | best baseline |",
        "|---|---|---|---|---|---|---|",
    ]
    for group in result["data"]["groups"]:
        days = int(group["group"].partition("horizon ")[2].partition(",")[0])
        for one in group["budgets"]:
            width = int(re.search(r"d_model=(\d+)", one["chosen"])[1])
            cells = [least_loss(days, width), statistics.fmean(one["losses"]), statistics.stdev(one["losses"])]
            shape = one["chosen"].partition(";")[0]
            numbers = " | ".join(f"{cell:.3f}" for cell in (*cells, one["baseline"][1]))
            lines.append(f"| {group['group']} | {one['label']} | `{shape}` | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] != ["--pages"]:
        record()
    PAGE.write_text(with_parts(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

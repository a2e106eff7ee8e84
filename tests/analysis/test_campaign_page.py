"""The page of a campaign in a browser: figures are drawn, nothing is requested or runs over the window."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scalecore.api.trials import Origin, StudyView
from scalecore_analysis.options import ReportOptions
from scalecore_analysis.report.analysis import ReportAnalysis

from .conftest import shape, trial

pytestmark = pytest.mark.slow

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const wide = [...document.querySelectorAll("body *")].filter(one =>
    one.getBoundingClientRect().right > innerWidth && !one.closest(".scroll, svg, details, script"));
  document.title = JSON.stringify({
    figures: document.querySelectorAll(".figure").length,
    drawn: [...document.querySelectorAll(".figure")].filter(one => one.querySelector("svg .role-mark")).length,
    width: document.documentElement.scrollWidth, wide: wide.map(one => one.outerHTML.slice(0, 100)),
    requests: performance.getEntriesByType("resource").map(one => one.name),
  });
}, 4000));
</script>"""


@pytest.mark.parametrize("window", [1280, 390])
def test_the_page_is_drawn_and_fits_the_window(study: Callable[..., StudyView], tmp_path: Path, window: int) -> None:
    """On a screen and on a phone; a hostile text is not executed."""
    chromium = next((found for name in NAMES if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed here")
    hostile = '</script><script>document.title = "taken"</script><img src=x onerror="document.title=1">'
    studies = []
    for index in range(3):
        size = {"scale": 10**index}
        records = [
            trial(n, 0.6 + n / 50 - index / 20, architecture=shape(8 * 2**n, 2, **size), origin=Origin(kind="sampled"))
            for n in range(3)
        ]
        records.append(trial(3, state="failed", reason=hostile))
        studies.append(study(records, name=f"{hostile}{index}", budget=f"{10**index}k"))
    page = str(ReportAnalysis(ReportOptions(figures=[], tables=[])).run(studies).files["report.html"])
    path = tmp_path / "report.html"
    before, end, after = page.rpartition("</body>")  # the script of Vega contains others
    path.write_text(f"{before}{PROBE}{end}{after}", encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--dump-dom",
        "--enable-logging=stderr",
    ]
    options += [f"--window-size={window},900", "--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'user'}"]
    done = subprocess.run([chromium, *options, path.as_uri()], capture_output=True, text=True, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    assert found == {"figures": 3, "drawn": 3, "width": window, "wide": [], "requests": []}
    assert "CONSOLE" not in done.stderr

"""No code block of the site is cut off in a window of 1,280 pixels."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import pages

MEASURE = """<script>
  const cut = [...document.querySelectorAll("pre, pre > code")].filter((one) => one.scrollWidth > one.clientWidth);
  document.title = JSON.stringify(cut.map((one) => one.innerText.slice(0, 200)));
</script>"""


def test_long_lines_wrap(site: Path) -> None:
    """The style of this project, which is the last one of every page, wraps them."""
    style = (site / "assets" / "site.css").read_text(encoding="utf-8")
    (rule,) = re.findall(r"^\.md-typeset pre > code \{(.*?)\}", style, re.DOTALL | re.MULTILINE)
    assert "white-space: pre-wrap;" in rule
    for page in pages(site):
        styles = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page.read_text(encoding="utf-8"))
        assert styles[-1].endswith("assets/site.css"), page


def test_no_block_is_cut_off_in_a_browser(site: Path, tmp_path: Path) -> None:
    """Chromium, if installed, measures each block."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no Chromium is installed here")
    for page in pages(site):
        text = page.read_text(encoding="utf-8")
        if "<pre" not in text:
            continue
        measured = page.with_name(f"measured-{page.name}")
        measured.write_text(text.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
        done = subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                f"--user-data-dir={tmp_path}",
                "--window-size=1280,900",
                "--dump-dom",
                measured.as_uri(),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        measured.unlink()
        (found,) = re.findall(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
        assert json.loads(html.unescape(found)) == [], page.name

"""The page of a report in a real browser."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.trials import Origin, StudyView
from scalecore_analysis.options import ReportOptions
from scalecore_analysis.report.analysis import ReportAnalysis

from .conftest import trial

HOSTILE = '</script><script>document.title = "taken"</script><img src=x onerror="document.title=1">'


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed here")
    os.environ.setdefault("PLAYWRIGHT_SKIP_VALIDATE_HOST_REQUIREMENTS", "1")
    with playwright.sync_playwright() as engine:
        started = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


def test_the_page_in_a_browser(study: Callable[..., StudyView], browser: Any, tmp_path: Path) -> None:
    """Figures are drawn, the table sorts and filters, no request or console error occurs, texts are not executed.

    It fits a phone, and follows the dark mode.
    """
    source = random.Random(1)
    records = [trial(n, 0.6 + source.random() / 10, origin=Origin(kind="sampled", label=HOSTILE)) for n in range(40)]
    records += [trial(n, state="failed", reason=HOSTILE) for n in range(40, 45)]
    result = ReportAnalysis(ReportOptions()).run([study(records, name="walk")])
    path = tmp_path / "report.html"
    path.write_text(result.files["report.html"], encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())

    assert page.title() == "walk, budget 1k"
    assert page.locator(".figure").count() == 3
    drawn = "[...document.querySelectorAll('.figure')].every(one => one.querySelector('svg .role-mark path'))"
    page.wait_for_function(drawn, timeout=60_000)
    figure = page.locator(".figure").first
    points = figure.locator(".mark-symbol.role-mark path")
    assert points.count() == 41
    figure.scroll_into_view_if_needed()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # scrolling hides it
    heading = page.locator("#vg-tooltip-element h2")
    points.nth(7).hover()
    heading.get_by_text("trial 7: width=16 depth=4 params=1.02k", exact=True).wait_for(timeout=10_000)
    points.nth(9).tap()
    heading.get_by_text("trial 9: width=8 depth=1 params=64", exact=True).wait_for(timeout=10_000)
    figure.locator(".role-legend-label text").first.click()
    page.wait_for_function(
        "document.querySelectorAll('.figure')[0].querySelectorAll('.mark-symbol.role-mark path').length == 1"
    )

    def column(name: str) -> list[str]:
        head = page.locator("#trials th").all_inner_texts().index(name)
        return list(page.locator(f"#trials tbody tr td:nth-child({head + 1})").all_inner_texts())

    page.get_by_role("button", name="val_loss").click()
    page.get_by_role("button", name="val_loss").click()
    values = column("val_loss")
    assert values[:40] == sorted(values[:40], key=float, reverse=True)
    assert values[40:] == [""] * 5
    page.get_by_role("button", name="trial", exact=True).click()
    assert [int(text) for text in column("trial")] == list(range(45))
    page.get_by_role("searchbox").fill("FAILED script")
    assert page.locator("#count").inner_text() == "5 of 45"
    assert page.locator("#trials tbody tr:visible").count() == 5

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    ink = "getComputedStyle(document.querySelector('.figure .role-axis-title text')).fill"
    assert page.evaluate(ink) == "rgb(227, 230, 233)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(ink) == "rgb(29, 33, 38)"
    assert page.title() == "walk, budget 1k"
    assert (said, asked) == ([], [path.as_uri()])

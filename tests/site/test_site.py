"""The site is built without a warning and loads nothing from other hosts."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from .conftest import ROOT, pages

FETCHED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "link": "href",
    "use": "href",
    "image": "href",
    "object": "data",
    "embed": "src",
}
"""Elements that load a resource, with the attribute that contains its address."""


class Page(HTMLParser):
    """The resources that a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(FETCHED.get(tag, ""))
        # These are hints for search engines and readers.
        hint = tag == "link" and values.get("rel") in ("canonical", "next", "prev", "alternate")
        if address and not hint:
            self.fetched.append(address)
        for style in (values.get("style") or "",):
            self.fetched += re.findall(r"url\(([^)]+)\)", style)


def test_every_page_is_there(site: Path) -> None:
    """The site has each file of docs/ and each linked file outside of it."""
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    assert (site / "project/CONTRIBUTING.html").is_file()
    assert (site / "project/benchmarks/results/step.txt").is_file()


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    """The site works without a network: no script, style, font or picture is on another host."""
    assert len(pages(site)) >= 20
    for path in pages(site):
        page = Page(path.read_text(encoding="utf-8"))
        assert len(page.fetched) >= 3, path
        assert [one for one in page.fetched if re.match(r"(?:[a-z+]+:)?//", one)] == [], path


def test_no_style_fetches_anything_from_elsewhere(site: Path) -> None:
    """Styles name neither fonts nor styles nor pictures of another host."""
    styles = sorted(site.rglob("*.css"))
    assert styles
    for path in styles:
        text = path.read_text(encoding="utf-8")
        addresses = re.findall(r"url\(\s*[\"']?([^\"')]+)", text) + re.findall(r"@import\s*[\"']([^\"']+)", text)
        assert [one for one in addresses if re.match(r"(?:https?:)?//", one)] == [], path


def test_loaded_files_exist(site: Path) -> None:
    """Every loaded file exists in the site."""
    for path in pages(site):
        if path.name == "404.html":  # its addresses start at the root of a host
            continue
        for address in Page(path.read_text(encoding="utf-8")).fetched:
            name = re.split(r"[?#]", address)[0]
            if name and not name.startswith("data:"):
                assert (path.parent / name).resolve().is_file(), f"{path}: {address}"


def test_the_search_needs_no_server(site: Path) -> None:
    """The index is also a script, and every page has the worker that runs the search in pages opened from the disk."""
    name, _, content = (site / "search" / "search_index.js").read_text(encoding="utf-8").partition(" = ")
    assert name == "var __index"
    found = {entry["location"].partition("#")[0] for entry in json.loads(content)["docs"]}
    for page in (ROOT / "docs").rglob("*.md"):
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert built.as_posix() in found
        fetched = Page((site / built).read_text(encoding="utf-8")).fetched
        assert any(address.endswith("assets/iframe-worker.js") for address in fetched), page


def test_pictures_are_part_of_the_page(site: Path) -> None:
    """Both pictures are embedded as text, in the colours of the page."""
    for page in ("concepts", "writing-plugins"):
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert '<div class="picture"' in text
        assert "experiment.yaml</text>" in text

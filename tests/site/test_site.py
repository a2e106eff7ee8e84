"""The documentation as a site: it is built without a warning, and what is built fetches nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from .conftest import ROOT

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
"""Elements that make a browser fetch something, with the attribute that says what."""


class Page(HTMLParser):
    """What a page makes the browser fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(FETCHED.get(tag, ""))
        # These only tell a search engine or a reader where something is.
        told = tag == "link" and values.get("rel") in ("canonical", "next", "prev", "alternate")
        if address and not told:
            self.fetched.append(address)
        for style in (values.get("style") or "",):
            self.fetched += re.findall(r"url\(([^)]+)\)", style)


def test_every_page_is_there(site: Path) -> None:
    """Each file of docs/, and what they link to outside of it."""
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    assert (site / "project/CONTRIBUTING.html").is_file()
    assert (site / "project/benchmarks/results/step.txt").is_file()


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture of another host: the site works without a network."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= 20
    for path in pages:
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


def test_what_is_fetched_is_there(site: Path) -> None:
    """No page asks for a file that the site lacks."""
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html":  # its addresses start at the root of a host
            continue
        for address in Page(path.read_text(encoding="utf-8")).fetched:
            name = re.split(r"[?#]", address)[0]
            if name and not name.startswith("data:"):
                assert (path.parent / name).resolve().is_file(), f"{path}: {address}"


def test_the_search_needs_no_server(site: Path) -> None:
    """Its index is a script too, and every page has what runs the search where a page was opened from the disk."""
    name, _, content = (site / "search" / "search_index.js").read_text(encoding="utf-8").partition(" = ")
    assert name == "var __index"
    found = {entry["location"].partition("#")[0] for entry in json.loads(content)["docs"]}
    for page in (ROOT / "docs").rglob("*.md"):
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert built.as_posix() in found
        fetched = Page((site / built).read_text(encoding="utf-8")).fetched
        assert any(address.endswith("assets/iframe-worker.js") for address in fetched), page


def test_pictures_are_part_of_the_page(site: Path) -> None:
    """Both pictures are put in as text, in the colours of the page."""
    for page in ("concepts", "writing-plugins"):
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert '<div class="picture"' in text
        assert "experiment.yaml</text>" in text

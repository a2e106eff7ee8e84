"""Hooks of MkDocs: add linked files outside of docs/ to the site, under `project/`, and embed pictures of docs/assets
as text, so that they have the colours of the page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OUTSIDE = "project/"

_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_LIST = re.compile(r"^((?!\s|[-*] |1\. |\|).+)\n(?=[-*] |1\. )", re.MULTILINE)
_CELL = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
_CODE = re.compile(r"<code>[^<]*</code>")
_PICTURE = re.compile(r'<img alt="([^"]*)" src="[^"]*?assets/([\w-]+\.svg)" ?/?>')


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to, recursively."""
    waiting = list(DOCS.rglob("*.md"))
    seen = set(ROOT.glob("packages/*/CHANGELOG.md"))
    for path in sorted(seen):
        files.append(File.generated(config, OUTSIDE + path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    while waiting:
        page = waiting.pop()
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for _, target, _ in _LINK.findall(text):
            there = _resolve(page, target)
            if there is None or there in seen or there.is_relative_to(DOCS) or not there.is_file():
                continue
            seen.add(there)
            uri = OUTSIDE + there.relative_to(ROOT).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(there)))
            if there.suffix == ".md":
                waiting.append(there)
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Rewrite links out of or into docs/, except those to folders; separate lists from the paragraph before, as GitHub
    does.
    """
    uri = page.file.src_uri
    source = ROOT / uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else DOCS / uri

    def link(match: re.Match[str]) -> str:
        target = match[2]
        there = _resolve(source, target)
        if there is None or not there.is_relative_to(ROOT) or not there.is_file():
            return match[0]
        inside = there.is_relative_to(DOCS)
        place = there.relative_to(DOCS).as_posix() if inside else OUTSIDE + there.relative_to(ROOT).as_posix()
        anchor = target.partition("#")[2]
        relative = posixpath.relpath(place, posixpath.dirname(uri) or ".")
        return f"{match[1]}{relative}{f'#{anchor}' if anchor else ''}{match[3]}"

    parts = re.split(f"({_FENCE.pattern})", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else _LINK.sub(link, _LIST.sub(r"\1\n\n", part)) for part in parts)


def on_page_content(html: str, *, page: Any, config: Any, files: Files) -> str:
    """Embed pictures of docs/assets as text; allow line breaks after underscores in tables."""

    def picture(match: re.Match[str]) -> str:
        svg = (DOCS / "assets" / match[2]).read_text(encoding="utf-8")
        return f'<div class="picture" role="img" aria-label="{match[1]}">{svg}</div>'

    def breakable(cell: re.Match[str]) -> str:
        return _CODE.sub(lambda code: code[0].replace("_", "_<wbr>"), cell[0])

    return _CELL.sub(breakable, _PICTURE.sub(picture, html))


def _resolve(page: Path, target: str) -> Path | None:
    """The target of a relative link; None for a URL or an anchor of the same page."""
    name = target.partition("#")[0]
    if not name or re.match(r"[a-z]+:", name):
        return None
    return (page.parent / name).resolve()

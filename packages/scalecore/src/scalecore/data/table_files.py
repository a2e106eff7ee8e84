"""Read table files from other programs: detect files that are not tables, decompress and decode text.

Messages state the cause and the remedy; `name` is the name of the file in messages.
"""

from __future__ import annotations

import csv
import itertools
import re
from typing import TYPE_CHECKING, Literal

from scalecore.api.errors import DataError
from scalecore.api.files import broken_link

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from scalecore.api.dataset_options import ReadOptions

_KINDS = ".parquet, .pq, .csv or .csv.gz; also .tsv and .txt, and compressed as .bz2, .xz, .zst or .zip"
_TEXT = (".csv", ".tsv", ".txt")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_MAGIC: Mapping[bytes, str] = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the data: fetch it with `git lfs pull`",
    b"\x1f\x8b": "is compressed with gzip: rename it to {name}.gz",
    b"PK\x03\x04": "is a zip archive or an Excel workbook: unpack it, or export the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook: export the sheet as CSV",
    b"BZh": "is compressed with bzip2: rename it to {name}.bz2",
    b"\xfd7zXZ": "is compressed with xz: rename it to {name}.xz",
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard: rename it to {name}.zst",
}
_BOMS = {b"\xff\xfe\x00\x00": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|script)", re.IGNORECASE)
_ANNEX = re.compile(rb"\S*/annex/objects/\S+\s*")
_HEAD = 4096


def kind_of(path: Path, *, name: str) -> Literal["parquet", "text"]:
    """Return the kind of the file by its suffix. Raises DataError if it is missing, unsupported or not a table."""
    if not path.is_file():
        raise DataError(_missing(path, name))
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    last = suffixes[-1] if suffixes else ""
    packed = last in PACKED and len(suffixes) == 2 and suffixes[0] in _TEXT
    if last not in (".parquet", ".pq", *_TEXT) and not packed:
        if last in PACKED:
            raise DataError(f"{name}: rename it to {path.with_suffix('').name}.csv{last} if it contains a CSV file")
        what = f"the suffix {path.suffix!r} is unknown" if last else "the name has no suffix"
        raise DataError(f"{name}: {what}; use {_KINDS}")
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not packed:
        _check_head(head, name=name, parquet=last in (".parquet", ".pq"))
    return "parquet" if last in (".parquet", ".pq") else "text"


def _missing(path: Path, name: str) -> str:
    if (broken := broken_link(path)) is not None:
        return f"{name} {broken}"
    return f"{name} is not a file" if path.exists() else f"{name} does not exist"


def _check_head(head: bytes, *, name: str, parquet: bool) -> None:
    """Raise DataError if the content is not a table of the kind that the suffix promises."""
    kind = "parquet" if parquet else "CSV"
    wrong = f"{name} cannot be read as {kind}; it may be truncated or of another type: "
    if not head and parquet:
        return  # the reader reports it
    if not head.strip():
        raise DataError(f"{name} is empty: nothing was written or downloaded; download it again")
    for magic, text in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{name} {text.format(name=name)}")
    if _ANNEX.fullmatch(head):
        raise DataError(f"{name} is a pointer of git-annex, not the data: fetch it with `git annex get`")
    if _PAGE.match(head):
        raise DataError(
            f"{name} is a web page (HTML or XML), not a table: the download returned a login page, an error or a "
            "description; download the file itself"
        )
    if head.lstrip()[:1] in (b"{", b"["):
        line = head.strip().decode("utf-8", errors="replace").splitlines()[0][:80]
        raise DataError(f"{name} is JSON, not a table, perhaps a service's response without data: {line}")
    if parquet and not head.startswith(b"PAR1") and b"\0" not in head:
        raise DataError(f"{wrong}it is text; rename it to .csv if it is a CSV file, or download it again")
    if not parquet and head.startswith(b"PAR1"):
        raise DataError(f"{wrong}it is a parquet file; rename it to .parquet")


def read_text(path: Path, *, reading: ReadOptions, name: str) -> str:
    """Return the text of a file, decompressed according to its suffix and decoded."""
    raw = _unpacked(path, name=name)
    _check_head(raw[:_HEAD], name=name, parquet=False)
    encoding = reading.encoding or next((one for mark, one in _BOMS.items() if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw[:_HEAD]:
        order = "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
        raise DataError(
            f"{name} contains zero bytes: it is UTF-16 without a byte order mark, or not text; for UTF-16, write "
            f"read: {{encoding: {order}}}"
        )
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        found = f"{name}: line {line} contains the byte 0x{raw[error.start]:02x}, which is not {encoding.upper()}"
        if encoding != "utf-8":
            raise DataError(f"{found}; set the file's encoding: read: {{encoding: ...}}") from None
        word = re.split(rb"[\s;,\t|\"]", raw[: error.start])[-1] + re.split(rb"[\s;,\t|\"]", raw[error.start :])[0]
        raise DataError(
            f"{found}. In Windows-1252 it reads {word.decode('cp1252', errors='replace')!r}: if that is right, write "
            "read: {encoding: cp1252}, or save the file as UTF-8"
        ) from None


def _unpacked(path: Path, *, name: str) -> bytes:
    import bz2
    import gzip
    import lzma
    import zipfile
    import zlib

    def zstd(content: bytes) -> bytes:
        import pyarrow as pa

        try:
            return bytes(pa.CompressedInputStream(pa.BufferReader(content), "zstd").read())
        except pa.ArrowException as error:
            raise OSError(str(error)) from None

    def unzip(content: bytes) -> bytes:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.namelist() if not one.endswith("/") and not one.startswith("__MACOSX")]
            if len(members) != 1:
                raise DataError(f"{name} contains {len(members)} files: unpack it, and use one of them")
            return archive.read(members[0])

    unpack: Mapping[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.decompress,
        ".bz2": bz2.decompress,
        ".xz": lzma.decompress,
        ".zst": zstd,
        ".zip": unzip,
    }
    how = unpack.get(path.suffix.lower())
    content = path.read_bytes()
    try:
        return how(content) if how else content
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        reason = str(error).strip() or type(error).__name__
        raise DataError(
            f"{name} cannot be read as CSV; it may be truncated or of another type: decompression failed ({reason})"
        ) from None


def check_header(text: str, *, reading: ReadOptions, name: str) -> None:
    """Raise DataError, with a remedy, if the header of a CSV file is not exactly one line of column names."""
    head = re.split(r"\r\n|\r|\n", text[:65536])[:50]
    lines = [(number, line) for number, line in enumerate(head, 1) if line.strip()]
    try:
        rows = list(csv.reader([line for _, line in lines], delimiter=reading.delimiter))
    except csv.Error as error:
        raise DataError(f"{name} cannot be read as CSV: {error}") from None
    if not lines or len(rows) != len(lines):  # cells with line breaks are rare: skip the check
        return
    first, below = rows[0], rows[1:]
    if len(first) == 1:
        _check_separator([line for _, line in lines], reading=reading, name=name)
        wide = next((number for (number, _), row in zip(lines, rows, strict=True) if len(row) > 1), None)
        if wide is not None:
            raise DataError(
                f"{name}: line {lines[0][0]} is not a header: it has one cell, {_short(first[0])}, but line {wide} has "
                "more. Remove the lines above the column names"
            )
    if all(_VALUE.fullmatch(cell.strip()) for cell in first if cell.strip()):
        raise DataError(
            f"{name}: line {lines[0][0]} contains values, {_short(', '.join(first))}, not names: the file has no "
            "header. Add a line with the column names"
        )
    names = list(itertools.takewhile(lambda row: not _has_digit(row), below))
    if names and len(names) < len(below):
        raise DataError(
            f"{name}: line {lines[1][0]} contains no number, {_short(', '.join(names[0]))}: the header has "
            f"{1 + len(names)} lines. Keep one line with the column names"
        )


_VALUE = re.compile(r"[-+$]?[\d.,:/T -]*\d[\d.,:/TZ+ -]*(e[-+]?\d+)?%?", re.IGNORECASE)


def _check_separator(lines: Sequence[str], *, reading: ReadOptions, name: str) -> None:
    """Raise DataError if another separator divides the header and the next lines alike."""
    for mark, written in ((";", "';'"), ("\t", "tab"), ("|", "'|'"), (",", "','"), (" ", "' '")):
        counts = [line.count(mark) for line in lines[:5]]
        if mark == reading.delimiter or not counts[0] or (len(counts) > 1 and counts[0] not in counts[1:]):
            continue
        comma = mark != "," and reading.decimal is None and any(re.search(r"\d,\d", line) for line in lines[1:])
        decimal = ", decimal: ','" if comma else ""
        raise DataError(
            f"{name}: the header has one cell, {_short(lines[0].strip())}: the separator is different; write "
            f"read: {{separator: {written}{decimal}}}"
        )


def _has_digit(row: Sequence[str]) -> bool:
    return any(character.isdigit() for cell in row for character in cell)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def number_of(text: str, *, decimal: Literal[".", ","] | None) -> float:
    """Parse a number as text, with an optional currency sign and optional thousands groups.

    The other mark groups thousands. Without `decimal`, `1,234` is ambiguous. Raises ValueError for other text; its
    message is empty, or states the option with which the text would be a number.
    """
    bare = re.sub(r"^([-+]?)[$€£¥]\s?|\s?[$€£¥]$", r"\1", text.strip())
    mark, group = decimal or ".", "." if decimal == "," else ","
    if re.fullmatch(rf"[-+]?\d{{1,3}}({re.escape(group)}\d{{3}})+({re.escape(mark)}\d+)?", bare):
        if decimal is None and re.fullmatch(r"[-+]?\d{1,3},\d{3}", bare):
            raise ValueError(
                "with a comma that may group thousands or be the decimal mark: write read: {decimal: '.'} or ','"
            )
        bare = bare.replace(group, "")
    elif decimal is None and re.fullmatch(r"[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+", bare):
        raise ValueError("with a decimal comma: write read: {decimal: ','}")
    elif group in bare or "_" in bare:
        raise ValueError("")
    try:
        return float(bare.replace(mark, "."))
    except ValueError:
        raise ValueError("") from None


def date_hint(text: str) -> str:
    """Return a hint for the end of a message if `text` looks like a date in another format; otherwise empty."""
    forms = {
        r"\d{1,2}/\d{1,2}/\d{4}.*": "'%m/%d/%Y' or '%d/%m/%Y'",
        r"\d{1,2}/\d{1,2}/\d{2}": "'%m/%d/%y' or '%d/%m/%y'",
        r"\d{1,2}\.\d{1,2}\.\d{2}": "'%d.%m.%y'",
        r"\d{1,2}\.\d{1,2}\.\d{4}.*": "'%d.%m.%Y'",
        r"\d{1,2}-\d{1,2}-\d{4}.*": "'%d-%m-%Y' or '%m-%d-%Y'",
        r"\d{4}[/.]\d{1,2}[/.]\d{1,2}.*": "'%Y/%m/%d' or '%Y.%m.%d'",
        r"\d{4}": "'%Y'",
        r"\d{8}(\.0)?": "'%Y%m%d'",
        r"\d{9,10}(\.\d+)?": "unix",
        r"\d{12,13}(\.\d+)?": "unix_ms",
        r"\w{3,} \d{1,2},? \d{4}|\d{1,2}[- ]\w{3,}[- ]\d{2,4}": "'%b %d, %Y', '%d-%b-%Y' or the like",
    }
    form = next((form for pattern, form in forms.items() if re.fullmatch(pattern, text.strip())), None)
    return "" if form is None else f"; set the date format: read: {{date_format: {form}}}"

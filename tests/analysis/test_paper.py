"""Tables as CSV and LaTeX files."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scalecore_analysis.report.measured import Measured
from scalecore_analysis.report.paper import csv_table, escaped, latex_table

HOSTILE = r"50 % & $x_1^2$ #1 {a} ~ \input{/etc/passwd} <b> | `c` ``d'' \\ é × α ≤ 中 --only" + "\x1b[31m\nnext"

ROWS: list[dict[str, Any]] = [
    {"budget": "2M", "N": 2_412_345, "loss": Measured(value=0.40812, low=0.3654, high=0.4533), "lr": 1.2e-5},
    {"budget": "[20M]", "N": None, "loss": Measured(value=-0.5), "lr": -0.5, "ok": True, "why": HOSTILE},
    {"budget": "*", "N": 7, "loss": None, "lr": 0.25, "ok": False, "why": None},
]


def test_a_latex_table() -> None:
    """Booktabs rules, a caption and a label; intervals in brackets, thousands, minus signs, powers of ten."""
    rows = [{name: row.get(name) for name in ("budget", "N", "loss", "lr", "ok")} for row in ROWS]
    assert latex_table(rows, caption="Losses, 95 %", label="losses", source="scalecore\n\\evil") == (
        "% scalecore \\evil\n"
        "% \\usepackage{booktabs}\n"
        "\\begin{table}\n"
        "  \\centering\n"
        "  \\caption{Losses, 95 \\%}\n"
        "  \\label{tab:losses}\n"
        "  \\begin{tabular}{lrrrl}\n"
        "    \\toprule\n"
        "    budget & N & loss & lr & ok \\\\\n"
        "    \\midrule\n"
        "    2M & 2,412,345 & 0.4081 {[}0.3654, 0.4533{]} & $1.200\\times 10^{-5}$ & -- \\\\\n"
        "    {}[20M] & -- & $-0.5000$ & $-0.5000$ & yes \\\\\n"
        "    {}* & 7 & -- & 0.2500 & no \\\\\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n"
    )


def test_texts_are_escaped_for_latex() -> None:
    """No text can end a group, start a command, or need a package; line breaks and control characters are removed."""
    assert escaped(HOSTILE) == (
        r"50 \% \& \$x\_1\textasciicircum{}2\$ \#1 \{a\} \textasciitilde{} \textbackslash{}input\{/etc/passwd\} "
        r"\textless{}b\textgreater{} \textbar{} \textasciigrave{}c\textasciigrave{} "
        r"\textasciigrave{}\textasciigrave{}d'' \textbackslash{}\textbackslash{} é $\times$ $\alpha$ $\leq$ "
        r"{[}U+4E2D{]} -{}-only\textbackslash{}x1b[31m next"
    )


def test_every_line_of_a_latex_table_has_the_same_cells() -> None:
    """Each line has one cell per column of the preamble, braces are balanced, and long texts wrap."""
    text = latex_table(ROWS, caption=HOSTILE, label="x", source="y")
    columns = re.search(r"\\begin{tabular}{(.*)}\n", text)
    assert columns is not None
    assert columns[1] == r"lrrrlp{0.42\linewidth}"
    lines = text[text.index("\\toprule") : text.index("\\bottomrule")].splitlines()
    cells = [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in lines if line.endswith(r"\\")]
    assert [len(line) for line in cells] == [6] * 4
    depth = re.sub(r"\\[\\{}%&$#_]", "", text)
    assert depth.count("{") == depth.count("}")
    assert not re.search(r"(?<!\\)[#~^]", re.sub(r"\$[^$\n]*\$", "", re.sub(r"\\[$#_]", "", text)))


def test_an_empty_table_is_a_latex_table() -> None:
    """A table without rows has no columns to name, and says so."""
    text = latex_table([], caption="None", label="none", source="y")
    assert "\\begin{tabular}{l}" in text
    assert "    none \\\\\n" in text


def test_latex_compiles(tmp_path: Path) -> None:
    """LaTeX compiles the tables without an error, if it is installed."""
    latex = next(
        (found for name in ("pdflatex", "tectonic", "xelatex", "lualatex") if (found := shutil.which(name))), None
    )
    if latex is None:
        pytest.skip("no LaTeX is installed here")
    tables = "".join(latex_table(rows, caption=HOSTILE, label="x", source="y") for rows in (ROWS, ROWS[:1], []))
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n" + tables + "\\end{document}\n"
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    flags = [] if latex.endswith("tectonic") else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([latex, *flags, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "paper.pdf").exists()


def test_a_csv_table() -> None:
    """Unrounded numbers, three columns for an interval, empty cells for missing values, no formulas."""
    rows = [*ROWS, {"budget": "=1+1", "N": -3, "loss": None, "lr": None, "why": 'a,"b"\nc'}]
    found = list(csv.DictReader(io.StringIO(csv_table(rows), newline="")))
    assert found[0] == {
        "budget": "2M",
        "N": "2412345",
        "loss": "0.40812",
        "loss low": "0.3654",
        "loss high": "0.4533",
        "lr": "1.2e-05",
        "ok": "",
        "why": "",
    }
    assert found[1]["ok"] == "yes"
    assert "\x1b" not in found[1]["why"]
    assert (found[3]["budget"], found[3]["N"], found[3]["why"]) == ("'=1+1", "-3", 'a,"b"\\nc')

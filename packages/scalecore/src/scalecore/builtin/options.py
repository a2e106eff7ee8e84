"""Options of the built-in components; those of the dataset are in `options_dataset.py`."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt
from attrs import frozen

from scalecore.api.options import ImportPath, option


@frozen(kw_only=True)
class ConsoleOptions:
    """Options of logger `console`."""

    verbosity: Literal["quiet", "normal", "verbose"] = option(
        "normal",
        help="`quiet`: only the final result, warnings and errors; `verbose`: every epoch, and why each trial was "
        "chosen. `--quiet` and `--verbose` on the command line take precedence.",
    )
    progress: Literal["auto", "lines"] = option(
        "auto", help="`auto`: bars on a terminal, lines elsewhere; `lines`: lines everywhere."
    )
    every: float = option(10.0, help="Seconds between two progress lines when no bars are shown.")


@frozen(kw_only=True)
class FilesOptions:
    """Options of logger `files`."""

    path: Path | None = option(None, help="Folder for the files; by default the study's folder.")


@frozen(kw_only=True)
class CsvOptions:
    """Options of logger `csv`."""

    path: Path | None = option(
        None,
        help="The table, shared by several studies; by default `experiment_results.csv` next to the study's folder.",
    )


@frozen(kw_only=True)
class FunctionOptions:
    """Options of trainer `function`."""

    target: ImportPath = option(
        help="The function that trains a trial: `module:name` or `./file.py:name`. Its file is part of the study's "
        "code. [G26]"
    )
    memory_gb: Annotated[float, Gt(0)] = option(
        1.0,
        help="Expected memory of a trial in GB until one has been measured; then the largest measured peak plus a "
        "quarter.",
    )

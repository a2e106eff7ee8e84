"""Options of the built-in components, but for the dataset's, which stand in `options_dataset.py`."""

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
        help="`quiet`: the end, warnings and errors only; `verbose`: every epoch, and why each trial was chosen. "
        "`--quiet` and `--verbose` of the command line count more.",
    )
    progress: Literal["auto", "lines"] = option(
        "auto", help="`auto` shows bars on a terminal, and lines elsewhere; `lines` shows lines everywhere."
    )
    every: float = option(10.0, help="Seconds between two lines of progress where no bars are shown.")


@frozen(kw_only=True)
class FilesOptions:
    """Options of logger `files`."""

    path: Path | None = option(None, help="Folder of the files; the study's folder by default.")


@frozen(kw_only=True)
class CsvOptions:
    """Options of logger `csv`."""

    path: Path | None = option(
        None,
        help="The table, shared by several studies; `experiment_results.csv` beside the study's folder by default.",
    )


@frozen(kw_only=True)
class FunctionOptions:
    """Options of trainer `function`."""

    target: ImportPath = option(
        help="The function that trains a trial, by its import path: `module:name`, or `./file.py:name`. Its file is "
        "part of the study's code. [G26]"
    )
    memory_gb: Annotated[float, Gt(0)] = option(
        1.0,
        help="Memory in GB that a trial is expected to need until one has been measured; then it is the largest "
        "measured peak and a quarter more.",
    )

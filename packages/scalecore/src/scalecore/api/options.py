"""Declare the options of a plugin as an attrs class with bounds in its types and help in its fields.

    from typing import Annotated
    from annotated_types import Ge
    from attrs import frozen
    from scalecore.api.options import option

    @frozen(kw_only=True)
    class ThermalOptions:
        pause_at: Annotated[float, Ge(30)] = option(85.0, help="Pause from this temperature, in degrees Celsius.")

The experiment file is checked against the class; the JSON Schema and the reference are generated from it.
An option added in a later release sets `before`: see `option`.
Supported types: bool, int, float, str, pathlib.Path (made absolute, relative to the experiment file; `ExistingFile`
also checks that the file exists), `ImportPath` and `Imported` for code by its import path, Literal, enums of str,
Optional and other unions, list, tuple, dict, nested attrs classes, and `Annotated` with Ge, Gt, Le, Lt, MinLen of
the `annotated-types` package.

The only conversion is from int to float. File locations are not part of a study, so that a project can be moved: files
of a dataset count by the data's fingerprint, files of a model by their content. A `ValueError` in
`__attrs_post_init__` is reported at the component's position in the file.
Modules with option classes do not use `from __future__ import annotations`, and import only the standard library,
attrs, annotated-types and scalecore.
"""

from pathlib import Path
from typing import Annotated, Any

import attrs

__all__ = ["ExistingFile", "ImportPath", "Imported", "MustExist", "PathPattern", "Pattern", "option"]


@attrs.frozen
class Pattern:
    """For `Annotated[str, Pattern(...)]`: the whole text must match; `rule` describes the pattern in words."""

    regex: str
    rule: str


@attrs.frozen
class PathPattern(Pattern):
    """A `Pattern` for text that may contain a file path, such as `sqlite:///PATH` and `journal:PATH`."""


class MustExist:
    """Marks a path option whose file must exist when the experiment file is checked."""


ExistingFile = Annotated[Path, MustExist()]


@attrs.frozen(kw_only=True)
class ImportPath:
    """Code named by an option: `module:Name`, or `./file.py:Name` with a file relative to the experiment file.

    Either `module` or `file` is set. `name` may contain dots: `Class.method`.
    """

    name: str
    module: str | None = None
    file: Path | None = None

    @property
    def label(self) -> str:
        """The path without the folder of the file, for messages and records: `file.py:Name`."""
        return f"{self.module if self.file is None else self.file.name}:{self.name}"

    def __str__(self) -> str:
        return f"{self.module or self.file}:{self.name}"


@attrs.frozen(kw_only=True)
class Imported:
    """Code with the options for its call: `{use: "./file.py:Name", gamma: 2}`, or only its import path."""

    use: ImportPath
    options: dict[str, object] = attrs.field(factory=dict)


def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,  # noqa: A002 - the natural name
    factory: Any = None,
    before: Any = attrs.NOTHING,
) -> Any:
    """Return an attrs field with its one-sentence `help`.

    Pass `default`, or `factory` for a mutable default; without either the option is required. An option added to a
    released class must set `before` to the value that corresponds to the earlier behaviour. An option at that value is
    not part of the identity of a study or trial: older studies continue, and their trials keep their hashes.
    """
    metadata = {"help": help} if before is attrs.NOTHING else {"help": help, "before": before}
    if factory is not None:
        return attrs.field(factory=factory, metadata=metadata)
    return attrs.field(default=default, metadata=metadata)

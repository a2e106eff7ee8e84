"""How a plugin declares its options: an attrs class whose types carry the bounds and whose fields carry their help.

    from typing import Annotated
    from annotated_types import Ge
    from attrs import frozen
    from scalecore.api.options import option

    @frozen(kw_only=True)
    class ThermalOptions:
        pause_at: Annotated[float, Ge(30)] = option(85.0, help="Pause from this temperature, in degrees Celsius.")

The experiment file is checked against the class, the JSON Schema and the reference are made from it.
An option that is added later names what was done before it existed: see `option`.
Understood types: bool, int, float, str, pathlib.Path (made absolute, relative to the experiment file; `ExistingFile`
also checks that it is there), `ImportPath` and `Imported` for code by its import path, Literal, enums of str,
Optional and other unions, list, tuple, dict, nested attrs classes, and `Annotated` with Ge, Gt, Le, Lt, MinLen of
the `annotated-types` package.
Only an int is converted, to float. The location of a file is not part of a study, so that a project can be moved: files
of a dataset count by the data's fingerprint, those of a model by their content. A `ValueError` in `__attrs_post_init__`
is shown at the component's place in the file.
Modules with option classes do not use `from __future__ import annotations`, and import only the standard library,
attrs, annotated-types and scalecore.
"""

from pathlib import Path
from typing import Annotated, Any

import attrs

__all__ = ["ExistingFile", "ImportPath", "Imported", "MustExist", "PathPattern", "Pattern", "option"]


@attrs.frozen
class Pattern:
    """For `Annotated[str, Pattern(...)]`: the whole text must match; `rule` says so in words."""

    regex: str
    rule: str


@attrs.frozen
class PathPattern(Pattern):
    """A `Pattern` of text that may contain the path of a file, such as `sqlite:///PATH` and `journal:PATH`."""


class MustExist:
    """Marks a path option whose file must be there when the experiment file is checked."""


ExistingFile = Annotated[Path, MustExist()]


@attrs.frozen(kw_only=True)
class ImportPath:
    """Code that an option names: `module:Name`, or `./file.py:Name` with a file relative to the experiment file.

    Either `module` or `file` is given. `name` may have dots, `Class.method`.
    """

    name: str
    module: str | None = None
    file: Path | None = None

    @property
    def label(self) -> str:
        """For people and records, without the folder of the file: `file.py:Name`."""
        return f"{self.module if self.file is None else self.file.name}:{self.name}"

    def __str__(self) -> str:
        return f"{self.module or self.file}:{self.name}"


@attrs.frozen(kw_only=True)
class Imported:
    """Code with the options that it is called with: `{use: "./file.py:Name", gamma: 2}`, or its import path alone."""

    use: ImportPath
    options: dict[str, object] = attrs.field(factory=dict)


def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,  # noqa: A002 - reads as what it is
    factory: Any = None,
    before: Any = attrs.NOTHING,
) -> Any:
    """An attrs field with its one-sentence `help`. Give `default`, or `factory` for a mutable default, or neither.

    Required. An option that is added to a released class names in `before` the value that says what was done before it
    existed. At that value it is left out of what a study and a trial are, so that older studies continue and their
    trials keep their hashes.
    """
    metadata = {"help": help} if before is attrs.NOTHING else {"help": help, "before": before}
    if factory is not None:
        return attrs.field(factory=factory, metadata=metadata)
    return attrs.field(default=default, metadata=metadata)

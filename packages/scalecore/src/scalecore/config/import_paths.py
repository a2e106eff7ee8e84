"""Import paths in the experiment file: `module:Name` or `./file.py:Name`, alone or with options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cattrs import Converter
from cattrs.errors import ClassValidationError

from scalecore.api.options import Imported, ImportPath
from scalecore.config.constraints import UnexpectedError
from scalecore.config.structure import keyed, required_missing

IN_WORDS = "an import path (module:Name or ./file.py:Name)"
_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_ABSOLUTE = re.compile(rf"(/.+\.py):({_NAME})")


def register_import_paths(converter: Converter) -> None:
    """Add the hooks of this module to a converter of `structure.make_converter`."""
    path_hook = converter.get_structure_hook(Path)
    converter.register_structure_hook(ImportPath, lambda value, _: _import_path(value, path_hook))
    converter.register_structure_hook(Imported, lambda value, _: _imported(value, converter))


def split_absolute(text: str) -> tuple[str, str] | None:
    """File and name of an import path with an absolute file, as studies store it; None for other text."""
    found = _ABSOLUTE.fullmatch(text)
    return None if found is None else (found[1], found[2])


def without_folders(value: Any) -> Any:
    """Plain JSON types, with each absolute file in an import path replaced by its bare name."""
    if isinstance(value, dict):
        return {key: without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_folders(one) for one in value]
    found = split_absolute(value) if isinstance(value, str) else None
    return value if found is None else f"{Path(found[0]).name}:{found[1]}"


def _import_path(value: Any, path_hook: Any) -> ImportPath:
    place, _, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not place or not re.fullmatch(_NAME, name):
        raise UnexpectedError(IN_WORDS, value)
    if place.endswith(".py") or "/" in place:
        file: Path = path_hook(place, Path)
        if file.suffix != ".py":
            raise ValueError(f"{file} is not a .py file")
        return ImportPath(file=file, name=name)
    if not re.fullmatch(_NAME, place):
        raise UnexpectedError(IN_WORDS, value)
    return ImportPath(module=place, name=name)


def _imported(value: Any, converter: Converter) -> Imported:
    if isinstance(value, str):
        return Imported(use=converter.structure(value, ImportPath))
    if not isinstance(value, dict):
        raise UnexpectedError(f"{IN_WORDS}, or a mapping with `use`", value)
    if "use" not in value:
        raise ClassValidationError("", [required_missing("use")], Imported)
    try:
        use = converter.structure(value["use"], ImportPath)
    except ValueError as error:
        raise ClassValidationError("", [keyed(error, "use")], Imported) from None
    return Imported(use=use, options={key: one for key, one in value.items() if key != "use"})

"""Plain values structured as attrs classes, without a file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import field, frozen
from cattrs.errors import BaseValidationError, StructureHandlerNotFoundError

from scalecore.config.structure import flatten, make_converter


@frozen(kw_only=True)
class Inner:
    """A section within a section."""

    size: int = field(validator=attrs.validators.ge(1))
    _hidden: str = field(default="none", alias="hidden")


@frozen(kw_only=True)
class Outer:
    """Fields of all kinds: nested, with another name in `__init__`, computed, with their own converter."""

    inner: Inner
    share: Fraction = field(default=Fraction(1), converter=Fraction)
    twice: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.inner.size)


def structured(value: Any) -> Any:
    return make_converter(Path()).structure(value, Outer)


def test_every_kind_of_field_gets_its_value() -> None:
    """A field is found by its name; a type without a hook is left to the field's converter."""
    outer = structured({"inner": {"size": 3, "_hidden": "x"}, "share": "1/3"})

    assert outer == Outer(inner=Inner(size=3, hidden="x"), share=Fraction(1, 3))
    assert outer.twice == 6


def test_all_problems_are_found_each_with_its_path() -> None:
    """Unknown keys first, then missing keys, then wrong values; a validator runs only without other problems."""
    with pytest.raises(BaseValidationError) as caught:
        structured({"share": 0.5, "twice": 4, "inner": {"_hidden": 1, "sise": 2}})

    assert [(path, str(error)) for path, error in flatten(caught.value)] == [
        (("twice",), "unknown key; expected one of inner, share"),
        (("inner", "sise"), "unknown key; did you mean 'size'?"),
        (("inner", "size"), "required, but missing"),
        (("inner", "_hidden"), "expected a string, got 1; put it in quotes"),
    ]
    with pytest.raises(BaseValidationError) as caught:
        structured({"inner": {"size": 0}})
    assert [(path, str(error)) for path, error in flatten(caught.value)] == [(("inner",), "'size' must be >= 1: 0")]


def test_an_unsupported_type_is_refused_even_if_not_given() -> None:
    """The author of the class sees the error before a user sets the option."""

    @frozen(kw_only=True)
    class Odd:
        share: Fraction = Fraction(1)

    with pytest.raises(StructureHandlerNotFoundError):
        make_converter(Path()).structure({}, Odd)

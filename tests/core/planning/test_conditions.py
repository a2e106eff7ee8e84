from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalecore.planning.conditions import Predicate

NAMES = ("d_model", "n_layers", "n_heads")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d_model == 64", True),
        ("d_model == 64 and n_layers >= 48", False),
        ("d_model == 64 or n_layers >= 48", True),
        ("not d_model == 64", False),
        ("16 <= n_layers <= 32", True),
        ("d_model / n_layers > 2", False),
        ("d_model // n_heads == 32", True),
        ("d_model % 3 == 1 and -n_heads < 0", True),
        ("d_model * n_layers - 8 + 8 == 2048", True),
    ],
)
def test_g33_conditions_select_by_value(text: str, expected: bool) -> None:
    """A condition over the dimensions is true or false for the values, never for a position."""
    assert Predicate(text, names=NAMES)({"d_model": 64, "n_layers": 32, "n_heads": 2}) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width == 64", "'width' in 'width == 64' is not a dimension; the dimensions are d_model, n_layers, n_heads"),
        ("d_model ==", "'d_model ==' is not a condition such as `d_model == 1024 and n_layers >= 256`"),
        ("__import__('os').system('true')", "`__import__('os').system('true')` is not supported in"),
        ("d_model.real", "`d_model.real` is not supported in"),
        ("d_model == '64'", "`'64'` is not supported in"),
        ("[d_model]", "`[d_model]` is not supported in"),
        ("d_model ** 9999999 > 1", "`d_model ** 9999999` is not supported in"),
        ("d_model in (64, 128)", "`d_model in (64, 128)` is not supported in"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    """Only comparisons of dimensions are accepted, and nothing is executed."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Predicate(text, names=NAMES)


def test_a_division_by_zero_names_the_condition() -> None:
    """The message shows the condition and the values."""
    with pytest.raises(ValueError, match=r"'d_model / \(n_heads - 2\) > 1' divides by zero for"):
        Predicate("d_model / (n_heads - 2) > 1", names=NAMES)({"d_model": 64, "n_layers": 32, "n_heads": 2})


@given(st.text(max_size=80))
def test_any_other_text_raises_value_error(text: str) -> None:
    """Arbitrary text is a condition or a ValueError."""
    try:
        predicate = Predicate(text, names=NAMES)
        predicate({"d_model": 64, "n_layers": 32, "n_heads": 2})
    except ValueError:
        pass

"""Values with a special form in the experiment file: components, budgets, distributions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError

from scalecore.api.space import Choice, Distribution, IntRange, LogUniform, Uniform
from scalecore.config.constraints import UnexpectedError, described
from scalecore.config.experiment import Budget, ComponentRef, Execution, Search, Training, known_keys
from scalecore.config.import_paths import register_import_paths
from scalecore.config.structure import class_hook, keyed, required_missing, unknown_key

_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
_BUDGET = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKMB]?)")
SECTIONS = (Search, Training, Execution)
_FORMS = ("log_uniform", "uniform", "int", "choice")


def register_forms(converter: Converter) -> None:
    """Add the hooks of this module to a converter of `structure.make_converter`."""
    converter.register_structure_hook(Budget, _budget)
    converter.register_structure_hook(ComponentRef, lambda value, _: read_component(value))
    converter.register_structure_hook_func(lambda kind: kind == Distribution, read_distribution)
    converter.register_structure_hook_factory(lambda kind: kind in SECTIONS, _section_hook)
    register_import_paths(converter)


# --- components -----------------------------------------------------------------------------------------------------


def read_component(value: Any) -> ComponentRef:
    """A component: its name, or a mapping with `use` and its options."""
    if isinstance(value, str):
        return ComponentRef(use=_use(value))
    if not isinstance(value, dict):
        raise UnexpectedError("the name of a component, or a mapping with `use`", value)
    if "use" not in value:
        raise ClassValidationError("", [required_missing("use")], ComponentRef)
    try:
        use = _use(value["use"])
    except ValueError as error:
        raise ClassValidationError("", [keyed(error, "use")], ComponentRef) from None
    return ComponentRef(use=use, options={key: item for key, item in value.items() if key != "use"})


def _use(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise UnexpectedError("the name of a component", value)
    return value


def section_component(value: Any, section: type) -> ComponentRef | None:
    """The component of a `search:`, `training:` or `execution:` mapping; None if it has none or is not a mapping."""
    try:
        return _split(value, section)[0]
    except (ClassValidationError, ValueError):
        return None


def _split(value: Any, section: type) -> tuple[ComponentRef, dict[str, Any]]:
    """The component, and the keys of the section itself."""
    if not isinstance(value, dict):
        raise UnexpectedError("a mapping", value)
    known, default = known_keys(section), _default_use(section)
    rest = {key: item for key, item in value.items() if key not in known}
    if "use" not in rest and default is not None:
        rest["use"] = default
    return read_component(rest), {key: item for key, item in value.items() if key in known}


def _default_use(section: type) -> str | None:
    default: Any = attrs.fields_dict(section)["component"].default
    return None if default is attrs.NOTHING else default.factory().use


def _section_hook(section: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """A hook for `search:`, `training:` or `execution:`: `use` and unknown keys belong to the component."""
    inner = class_hook(section, converter)

    def structure(value: Any, _: Any) -> Any:
        errors: list[Exception] = []
        try:
            ref, own = _split(value, section)
        except ClassValidationError as error:
            errors.extend(error.exceptions)
            ref, own = ComponentRef(use="-"), {key: item for key, item in value.items() if key in known_keys(section)}
        try:
            result = inner(own | {"component": {"use": ref.use, **ref.options}}, section)
        except ClassValidationError as error:
            errors.extend(error.exceptions)
        if errors:
            raise ClassValidationError("", errors, section)
        return result

    return structure


# --- budgets --------------------------------------------------------------------------------------------------------


def _budget(value: Any, __: Any) -> Budget:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = _BUDGET.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        hint = f"write {int(value)}" if isinstance(value, float) and value.is_integer() and 0 < value < 1e15 else ""
        raise UnexpectedError("a number of parameters (such as 2M, 1.5B or 250000)", value, hint=hint)
    whole, _, decimals = match[1].partition(".")
    parameters, rest = divmod(int(whole + decimals) * _UNITS[match[2]], 10 ** len(decimals))
    if rest or not parameters:
        raise ValueError(f"a budget must be a whole number of parameters, at least 1, got {described(value)}")
    return Budget(text=match[1] + match[2], parameters=parameters)


# --- distributions --------------------------------------------------------------------------------------------------


def read_distribution(value: Any, _: Any) -> Distribution:
    """Read a distribution in the form of the experiment file."""
    if not isinstance(value, dict):
        raise UnexpectedError("a distribution such as `uniform: [0.1, 0.3]` or `choice: [1, 2]`", value)
    given = [key for key in value if key in _FORMS]
    if len(given) != 1:
        others = [key for key in value if key not in (*_FORMS, "step", "log")]
        if not given and others:
            raise ClassValidationError("", [unknown_key(key, _FORMS) for key in others], dict)
        if not given:
            raise ValueError(f"expected one of {', '.join(_FORMS)}, got none")
        raise ValueError(f"expected one of {', '.join(_FORMS)}, got {' and '.join(given)}")
    form = given[0]
    allowed = ("int", "step", "log") if form == "int" else (form,)
    errors = [
        unknown_key(key, allowed) if key not in ("step", "log") else _only_int(key)
        for key in value
        if key not in allowed
    ]
    try:
        result = _READERS[form](value)
    except ClassValidationError as error:
        errors.extend(error.exceptions)
    except ValueError as error:
        errors.append(keyed(error, form))
    if errors:
        raise ClassValidationError("", errors, dict)
    return result


def _only_int(key: str) -> Exception:
    return keyed(ValueError(f"{key} is allowed only with `int`"), key)


def _uniform(value: Mapping[str, Any]) -> Uniform:
    low, high = _range(value["uniform"])
    return Uniform(low=float(low), high=float(high))


def _log_uniform(value: Mapping[str, Any]) -> LogUniform:
    low, high = _range(value["log_uniform"])
    if low <= 0:
        raise ValueError(f"both ends must be greater than 0 on a logarithmic scale, got {described(low)}")
    return LogUniform(low=float(low), high=float(high))


def _int_range(value: Mapping[str, Any]) -> IntRange:
    low, high = _range(value["int"], whole=True)
    step, log = value.get("step", 1), value.get("log", False)
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise _at("step", f"expected an integer of at least 1, got {described(step)}")
    if not isinstance(log, bool):
        raise _at("log", f"expected true or false, got {described(log)}")
    if log and step != 1:
        raise _at("step", "`step` and `log` cannot be combined; remove one of them")
    if log and low < 1:
        raise ValueError(f"both ends must be greater than 0 on a logarithmic scale, got {low}")
    if (high - low) % step:
        raise _at(
            "step",
            f"steps of {step} from {low} do not reach {high}; the largest value would be {high - (high - low) % step}",
        )
    return IntRange(low=low, high=high, step=step, log=log)


def _choice(value: Mapping[str, Any]) -> Choice:
    values = value["choice"]
    if not isinstance(values, list):
        raise UnexpectedError("a list of values", values)
    if not values:
        raise ValueError("must not be empty")
    for one in values:
        if not isinstance(one, bool | int | float | str):
            raise UnexpectedError("numbers, strings or booleans", one)
    kinds = {"number" if isinstance(one, int | float) and not isinstance(one, bool) else type(one) for one in values}
    if len(kinds) > 1:
        raise ValueError("values must have one type: numbers, strings or booleans")
    if any(isinstance(one, float) for one in values):
        values = [float(one) for one in values]
    twice = [one for index, one in enumerate(values) if one in values[:index]]
    if twice:
        raise ValueError(f"{described(twice[0])} is listed twice")
    return Choice(values=tuple(values))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Distribution]] = {
    "uniform": _uniform,
    "log_uniform": _log_uniform,
    "int": _int_range,
    "choice": _choice,
}


def _range(value: Any, *, whole: bool = False) -> Sequence[Any]:
    what = "integers" if whole else "numbers"
    kinds = int if whole else int | float
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(one, kinds) and type(one) is not bool for one in value)
    ):
        raise ValueError(f"expected two {what}, [low, high]")
    if value[0] >= value[1]:
        raise ValueError(f"low must be less than high, got [{value[0]}, {value[1]}]")
    return value


def _at(key: str, message: str) -> ClassValidationError:
    return ClassValidationError("", [keyed(ValueError(message), key)], dict)

"""Features of version 0.1 that were removed, each with its replacement.

A new experiment that uses one is refused with this text. A study that has begun is still read, and resumed with a
warning if the component only writes or analyses results (`SINKS`). An installed component of the same name has
priority.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

_INIT = "name the component in the file that init writes; `scalecore plugins` lists the installed ones"

REMOVED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        **{("command", f"init --{kind}"): _INIT for kind in ("dataset", "model", "strategy", "search", "executor")},
        **{("command", f"init --{kind}"): _INIT for kind in ("monitor", "logger", "analysis")},
        ("command", "audit"): "use scalecore import PATH... --into EXPERIMENT --dry-run, which summarises results and "
        "checks each record",
        ("command", "completion"): 'add `eval "$(_SCALECORE_COMPLETE=bash_source scalecore)"` to ~/.bashrc; zsh_source '
        "is for zsh, and fish_source prints the script for fish",
        ("command", "dashboard"): "run `scalecore export optuna STUDY`, or use the logger optuna, and open its storage "
        "with optuna-dashboard",
        ("command", "new --kind"): "run scalecore new KIND NAME, which creates one file; --package creates a package",
        ("logger", "jsonl"): "read the study's journal.jsonl and the attempts' epochs.jsonl, which are JSON lines too",
        ("logger", "parquet"): "use the logger files: pandas reads its NAME_all_trials.json and trials/ as tables",
    }
)
"""By kind and name: `("command", "dashboard")`, `("command", "init --model")`, `("logger", "jsonl")`, or
`("logger", "mlflow.artifacts")` for an option of a component. Kinds are those of `scalecore.plugins.kinds`."""

RENAMED: Mapping[str, str] = MappingProxyType({"promote": "evaluate", "schema": "plugins --schema"})
"""Renamed commands, which accept the same arguments."""

SINKS = ("logger", "analysis")
"""Kinds of components that do not affect the results of a study."""

_LISTS = {"loggers": "logger", "monitors": "monitor", "analyses": "analysis"}


def removed(kind: str, name: str) -> str | None:
    """The message about a removed feature; None if it was not removed. A component may be named `scalecore-x/NAME`."""
    distribution, _, name = name.rpartition("/")
    if (kind, name) not in REMOVED or (distribution and distribution.partition("-")[0] != "scalecore"):
        return None
    owner, dashes, option = name.partition(" --") if kind == "command" else name.partition(".")
    text = f"the command {owner!r}" if kind == "command" else f"{kind} {owner!r}"
    text = f"the option {dashes.strip(' .') + option} of {text}" if option else text
    return f"{text} was removed in 0.2: {REMOVED[kind, name]}"


def renamed(command: str, arguments: Sequence[str]) -> str | None:
    """The new command line for a renamed command; None for other commands."""
    if command not in RENAMED:
        return None
    line = " ".join(["scalecore", RENAMED[command], *([shlex.join(arguments)] if arguments else [])])
    return f"the command {command!r} was renamed in 0.2: {line}"


def removed_from(experiment: Any, installed: Callable[[str, str], bool]) -> list[str]:
    """The messages about removed parts of a resolved experiment, as a study stores it; each once.

    `installed(kind, name)`, with a name as in `REMOVED`, returns whether a package has this component or option.
    """
    # 0.1 had no plugin files: a study that names some was run by this version, with their components.
    if not isinstance(experiment, Mapping) or experiment.get("plugins"):
        return []
    sections = [(experiment.get(kind), kind) for kind in ("dataset", "model", "search")]
    sections.append((experiment.get("execution"), "executor"))
    for name, kind in _LISTS.items():
        ones = experiment.get(name)
        sections += [(one, kind) for one in (ones if isinstance(ones, list) else ())]
    found: dict[str, None] = {}
    for content, kind in sections:
        if not isinstance(content, Mapping) or not isinstance(use := content.get("use"), str):
            continue
        for name in (use, *(f"{use}.{key}" for key in content)):
            if (text := removed(kind, name)) is not None and not installed(kind, name):
                found[text] = None
    return list(found)

"""How the studies were made: what was counted how, training, selection, data and splits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalecore.api.formatting import settings
from scalecore.api.space import distribution_plain
from scalecore_analysis.report.campaign.members import CampaignView, Member
from scalecore_analysis.report.section import Row, Section
from scalecore_analysis.studies import listed

__all__ = ["agreed", "data_section", "setup_section"]

FEATURES = 8
COUNTED = "all trainable parameters of the built model, embeddings, biases and head included"
FORWARD = "2 per multiply-add of one window's forward pass; training: three times that for each window and epoch"
Reader = Callable[[Member], str | None]


def setup_section(view: CampaignView) -> Section:
    """What the studies share and how they differ."""
    readers: Mapping[str, Reader] = {
        "description": lambda one: one.study.experiment.get("description"),
        "model": _model,
        "parameters N": lambda one: COUNTED if trainer_of(one) == "torch" else None,
        "FLOPs": lambda one: FORWARD if any(t.architecture.flops for t in one.study.trials) else None,
        "data D": lambda one: "training windows seen up to the best epoch, repeats included",
        "budget": lambda one: f"counted parameters within {_tolerance(one)} of the label",
        "search": _search,
        "selection": _selection,
        "trials": lambda one: f"{one.study.total} per study",
        "varied": _varied,
        "fixed": lambda one: settings(one.study.plan.fixed) or None,
        "training loss": _loss,
        "optimizer": optimizer,
        "schedule": schedule,
        "batch": _batch,
        "early stopping": _stopping,
        "precision": lambda one: _seen(one, lambda trial: trial.policy.precision),
        "device": lambda one: _seen(one, lambda trial: _device(trial.versions)),
        "fresh seeds": _fresh,
        "versions": _versions,
    }
    rows = [{"what": name, "value": agreed(view.members, of)} for name, of in readers.items()]
    rows = [row for row in rows if row["what"] != "description" or row["value"]]
    return Section(title="Setup", tables={"Setup": rows}, data={row["what"]: row["value"] for row in rows})


def agreed(members: Sequence[Member], of: Reader) -> str | None:
    """What all studies have in common; otherwise each value with the groups or studies that have it.

    None if no study has a value.
    """
    values: dict[str | None, list[Member]] = {}
    for one in members:
        values.setdefault(of(one), []).append(one)
    if len(values) < 2:
        return next(iter(values), None)
    return "; ".join(f"{value or 'not recorded'} ({_whose(found, members)})" for value, found in values.items())


def _whose(found: Sequence[Member], members: Sequence[Member]) -> str:
    """The groups of these studies, and the studies of groups that are not complete."""
    names: dict[str, None] = {}
    for one in found:
        whole = one.group and all(other in found for other in members if other.group == one.group)
        names[one.group if whole else one.title] = None
    return listed(list(names))


def trainer_of(member: Member) -> str:
    """The name of the trainer: `torch` if the file names none."""
    return str(member.study.experiment["training"].get("use") or "torch").rpartition("/")[2]


def optimizer(member: Member) -> str | None:
    """None for a trainer whose optimizer is the user's code."""
    if trainer_of(member) != "torch":
        return None
    given = member.study.experiment["training"].get("optimizer")
    return _named(given) or "AdamW, decoupled weight decay, none on biases, norms and other vectors"


def schedule(member: Member) -> str | None:
    """The learning-rate schedule with its warm-up and clipping."""
    training = member.study.experiment["training"]
    given = training.get("schedule")
    if trainer_of(member) != "torch" or given is None:
        return None
    values = {**member.study.plan.fixed}
    steps = values.get("warmup_steps")
    warmup = f"linear warm-up of {steps} steps, then " if steps is not None else ""
    clip = training.get("gradient_clip")
    return f"{warmup}{_named(given)}" + (f"; gradients clipped to norm {clip:g}" if clip else "")


def _named(given: Any) -> str | None:
    """A component of the file: its name, or its options as JSON."""
    return given if given is None or isinstance(given, str) else json.dumps(given)


def _model(member: Member) -> str:
    options = {name: value for name, value in member.study.experiment["model"].items() if name != "use"}
    varied = set(member.study.plan.architectures.dimensions)
    shown = [f"{name} {_value(value)}" for name, value in options.items() if value is not None or name in varied]
    return f"{member.study.experiment['model']['use']}: {', '.join(shown)}" if shown else "no options"


def _value(value: Any) -> str:
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)


def _tolerance(member: Member) -> str:
    found = member.study.experiment["search"].get("tolerance")
    return "the tolerance" if found is None else f"{found:.0%}"


def _search(member: Member) -> str:
    search = member.study.experiment["search"]
    inner = f" ({search['inner']})" if isinstance(search.get("inner"), str) else ""
    pruner = search.get("pruner")
    return f"{search['use']}{inner}" + (f", pruner {pruner}" if pruner not in (None, "none") else "")


def _selection(member: Member) -> str:
    objective = member.study.experiment["objective"]
    which = f"the {objective['reduction']} epoch"
    return f"{objective['direction']} {objective['metric']} of {which} on the validation windows"


def _varied(member: Member) -> str:
    found = []
    for name, distribution in member.study.plan.space.items():
        ((kind, values),) = distribution_plain(distribution).items()
        found.append(f"{name} {kind} {values}".replace("'", ""))
    return ", ".join(found) or "nothing but the architecture"


def _loss(member: Member) -> str | None:
    loss = member.study.plan.loss
    return str(loss["kind"]) if list(loss) == ["kind"] else settings(loss) or None


def _batch(member: Member) -> str | None:
    size = member.study.experiment["training"].get("effective_batch")
    return None if size is None else f"{size} windows per optimizer step"


def _stopping(member: Member) -> str:
    stop = member.study.experiment["training"].get("early_stopping")
    return "none" if not stop else f"after {stop['patience']} epochs without a gain of {stop['min_delta']:g}"


def _seen(member: Member, of: Callable[[Any], str | None]) -> str | None:
    values = dict.fromkeys(value for trial in member.study.trials if (value := of(trial)))
    return ", ".join(values) or None


def _device(versions: Mapping[str, str]) -> str | None:
    device, gpu = versions.get("run:device"), versions.get("run:gpu")
    return f"{device} ({gpu})" if device and gpu else device


def _fresh(member: Member) -> str:
    runs = member.fresh(member.subject.metric)
    return "none" if runs is None else f"{len(runs.values)} of the best configuration"


def _versions(member: Member) -> str | None:
    known = member.study.plan.versions
    shown = [f"{name} {known[name]}" for name in ("scalecore", "scalecore-torch", "torch", "numpy") if name in known]
    return ", ".join(shown) or None


def data_section(view: CampaignView) -> Section:
    """Data, target and split of each group."""
    readers: Mapping[str, Reader] = {
        "data": lambda one: one.study.plan.data.name,
        "rows": lambda one: f"{one.study.plan.data.rows:,}, {one.study.plan.data.first} .. {one.study.plan.data.last}",
        "target": lambda one: one.study.plan.data.target.text or one.study.plan.data.target.kind,
        "task": lambda one: one.study.plan.data.task,
        "features": lambda one: _features(one.study.plan.data.features),
        "context": lambda one: f"{one.study.plan.data.context} rows",
        "normalised": lambda one: one.study.plan.data.normalise.kind,
        "split": lambda one: one.study.plan.data.split.kind,
        "purge, embargo": lambda one: f"{one.study.plan.data.split.purge}, {one.study.plan.data.split.embargo} windows",
        "fingerprint": lambda one: one.study.plan.data.fingerprint[:12],
    }
    rows = [{"what": name, "value": agreed(view.members, of)} for name, of in readers.items()]
    parts: list[Row] = []
    for group in view.groups:
        data = group.studies[0].plan.data
        head = {"group": group.label} if group.label else {}
        for name, part in data.parts.items():
            parts.append(
                {
                    **head,
                    "part": name,
                    "first": part.samples[0],
                    "last": part.samples[1],
                    "windows": part.windows,
                    "effective": part.effective,
                    "positives": part.positives,
                    "mean label" if data.task == "forecast" else "base rate": part.base_rate,
                    "loss of the prior": part.prior_loss,
                }
            )
    return Section(
        title="Data and splits",
        tables={"Data": rows, "Splits": parts},
        captions={
            "Splits": "First and last: ends of windows. Effective: windows divided by the number of consecutive "
            "windows whose labels share a row. Purge and embargo: windows dropped between the parts."
        },
        data={"data": rows, "splits": parts},
    )


def _features(names: Sequence[str]) -> str:
    shown = ", ".join(names[:FEATURES])
    return f"{len(names)}: {shown}" + (f" and {len(names) - FEATURES} more" if len(names) > FEATURES else "")

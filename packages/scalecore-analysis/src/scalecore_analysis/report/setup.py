"""Setup of the experiment, data, baselines and versions."""

from __future__ import annotations

from collections.abc import Sequence

from scalecore.api.data_report import PartReport
from scalecore.api.formatting import mixtures, number
from scalecore_analysis.report.section import Row, Section, Subject, finite

__all__ = ["baselines", "notes", "setup", "versions"]

FEATURES = 8
"""Maximum number of feature names shown; the JSON has all."""


def setup(subject: Subject) -> Section:
    """The setup, features, parts of the split, and base rates by year."""
    study = subject.study
    data, search = study.plan.data, study.experiment["search"]
    grid = study.plan.architectures
    rows: list[Row] = [
        {"what": "data", "value": data.name},
        {"what": "rows", "value": f"{data.rows:,}, {data.first} .. {data.last}"},
        {"what": "target", "value": data.target.text or data.target.kind},
        {"what": "context", "value": data.context},
        {"what": "features", "value": _features(data.features)},
        {"what": "normalised", "value": data.normalise.kind},
        {"what": "split", "value": data.split.kind},
        {"what": "purge, embargo", "value": f"{data.split.purge}, {data.split.embargo}"},
        {"what": "model", "value": study.experiment["model"]["use"]},
        {"what": "search", "value": search["use"]},
        {"what": "objective", "value": f"{subject.direction} {subject.metric}"},
        {"what": "budget", "value": study.budget},
        {"what": "architectures", "value": f"{grid.feasible:,} of {grid.low:,} to {grid.high:,} parameters"}
        if grid.low is not None
        else {"what": "architectures", "value": grid.feasible},
        {"what": "data fingerprint", "value": data.fingerprint},
    ]
    rate = "mean label" if data.task == "forecast" else "base rate"
    parts = [_part(name, part, rate) for name, part in data.parts.items()]
    years = [{"year": row.year, "rows": row.rows, rate: row.base_rate} for row in data.base_rates_per_year]
    return Section(
        title="Setup and data",
        tables={"Setup": rows, "Split": parts, f"{rate.capitalize()} by year": years},
        data={
            "setup": {row["what"]: row["value"] for row in rows},
            "features": list(data.features),
            "split": parts,
            "base rates per year": years,
        },
    )


def notes(subject: Subject) -> list[Section]:
    """The description and the notes of the user; no section if there are none."""
    study = subject.study
    text = str(study.experiment.get("description") or "")
    rows: list[Row] = [{"time (UTC)": one.written[:19].replace("T", " "), "note": one.text} for one in study.notes]
    if not text and not rows:
        return []
    tables: dict[str, list[Row]] = {"Description": [{"description": text}]} if text else {}
    tables |= {"Notes": rows} if rows else {}
    data = {"description": text or None, "notes": [{"written": one.written, "text": one.text} for one in study.notes]}
    return [Section(title="Description and notes", tables=tables, data=data)]


def _features(names: Sequence[str]) -> str:
    listed = ", ".join(names[:FEATURES])
    return f"{len(names)}: {listed}" + (f" and {len(names) - FEATURES} more" if len(names) > FEATURES else "")


def _part(name: str, part: PartReport, rate: str) -> Row:
    return {
        "part": name,
        "first": part.samples[0],
        "last": part.samples[1],
        "windows": part.windows,
        "effective": part.effective,
        "positives": part.positives,
        rate: part.base_rate,
        "loss of the prior": part.prior_loss,
    }


def baselines(subject: Subject) -> Section:
    """The baselines and the best trial, by validation loss."""
    data = subject.study.plan.data
    rows: list[Row] = []
    for one in data.baselines:
        within = one.loss_interval
        rows.append(
            {
                "predictor": one.name,
                "loss": one.loss,
                "low": None if within is None else within.low,
                "high": None if within is None else within.high,
                "accuracy": one.accuracy,
                "auc": one.auc,
                "how": one.reason or one.text,
            }
        )
    best, champion = subject.best, data.best_baseline
    loss = None if best is None or best.best is None else finite(best.best.val_loss)
    if best is not None and best.best is not None:
        within = best.best.interval("val_loss")
        rows.append(
            {
                "predictor": f"trial {best.number}",
                "loss": loss,
                "low": within and within.low,
                "high": within and within.high,
                "accuracy": finite(best.best.metrics.get("accuracy")),
                "auc": finite(best.best.metrics.get("auc")),
                "how": "the best trial, selected on these windows",
            }
        )
    rows.sort(key=lambda row: (row["loss"] is None, row["loss"] or 0.0))
    difference = None if champion is None or champion.loss is None or loss is None else loss - champion.loss
    text = "There is no completed trial with a loss to compare with the baselines."
    if champion is None:
        text = "No baseline could be computed."
    elif best is not None and difference is not None:
        side = "better than" if difference < 0 else "NOT better than"
        text = (
            f"Trial {best.number} is {side} the best baseline, {champion.name}: {number(loss)} against "
            f"{number(champion.loss)}."
        )
    return Section(
        title="Baselines",
        text=[text],
        tables={"Validation loss": rows},
        data={
            "predictors": rows,
            "best baseline": None if champion is None else champion.name,
            "best trial less best baseline": difference,
        },
    )


def versions(subject: Subject) -> Section:
    """Versions of the plan and of the trials, without the hashes of the weights."""
    found: dict[str, dict[str, int]] = {name: {} for name in subject.study.plan.versions}
    for trial in subject.study.trials:
        for name, version in trial.versions.items():
            if name != "weights":
                seen = found.setdefault(name, {})
                seen[version] = seen.get(version, 0) + 1
    rows = [
        {
            "name": name,
            "planned": subject.study.plan.versions.get(name),
            "trials": ", ".join(f"{version} ({count})" for version, count in sorted(seen.items())) or None,
        }
        for name, seen in sorted(found.items())
    ]
    text = [f"{one[0].upper()}{one[1:]}." for one in mixtures(subject.study.trials)]
    return Section(title="Versions", text=text, tables={"Versions": rows}, data=rows)

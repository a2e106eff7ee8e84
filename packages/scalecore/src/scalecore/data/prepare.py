"""Describe a panel, and store it as a folder of memory-mapped arrays for the attempts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.data_report import (
    DataReport,
    DriftReport,
    NormalisationReport,
    PartReport,
    SplitReport,
    TargetReport,
    TargetScale,
)
from scalecore.api.files import canonical_json, plain
from scalecore.data import folder as folders
from scalecore.data.baselines import baselines
from scalecore.data.checks import check_panel
from scalecore.data.dates import stamp
from scalecore.data.layouts import Layout, choose_layout
from scalecore.data.normalise import CONVENTION, Normaliser, fit, fit_scale, input_rows
from scalecore.data.splits import PARTS, Parts
from scalecore.data.statistics import PartStatistics, base_rate, drift_table, rates_per_year
from scalecore.data.steps import steps_flag, steps_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scalecore.api.panel import Panel


@frozen(kw_only=True)
class _Prepared:
    description: DataReport
    parts: Parts
    normaliser: Normaliser
    values: npt.NDArray[np.float64]
    scale: TargetScale | None


def describe(
    panel: Panel, *, min_validation_samples: int = 100, min_validation_positives: int = 20, raw_target: bool = False
) -> DataReport:
    """Split, check and describe a panel without writing anything.

    `raw_target` trains a forecast in the target's unit, for studies of version 0.1. Raises DataError if the data cannot
    be trained on, RefusedError if a guard refuses it (G02, G06, G54).
    """
    return _work(
        panel, samples=min_validation_samples, positives=min_validation_positives, raw_target=raw_target
    ).description


def prepare(
    panel: Panel,
    folder: Path,
    *,
    min_validation_samples: int = 100,
    min_validation_positives: int = 20,
    raw_target: bool = False,
) -> DataReport:
    """Split, check and normalise a panel, and store it in `folder` atomically.

    Files: `values.npy` float32 [rows, features] normalised, `labels.npy` float32 [rows] with NaN where unknown (for a
    forecast standardised with the description's `target_scale`, if set), `times.npy` datetime64[ns] [rows],
    `train.npy`, `val.npy` and `test.npy` int64 [windows] with the last row of each window, `data.json` with the
    description and the checksums of the other files. A folder with the same data is verified and reused, a damaged one
    is rewritten, and one with other data is refused (RefusedError, guard G52).
    Raises the same errors as `describe`. The study's lock ensures that only one process prepares a folder.
    """
    work = _work(panel, samples=min_validation_samples, positives=min_validation_positives, raw_target=raw_target)
    labels, scale = panel.labels, work.scale
    arrays: dict[str, npt.NDArray[Any]] = {
        "values": work.normaliser.apply(work.values),
        "labels": labels.astype(np.float32) if scale is None else scale.standardised(labels),
        "times": panel.times.astype("datetime64[ns]"),
        **work.parts.ends,
    }
    folders.store(folder, arrays=arrays, description=work.description)
    return work.description


def _work(panel: Panel, *, samples: int, positives: int, raw_target: bool) -> _Prepared:
    check_panel(panel)
    target, labels, times = panel.target, panel.labels, panel.times
    # The last bit of a sum depends on the memory order; a fixed order makes results reproducible.
    values = np.ascontiguousarray(panel.values, dtype=np.float64)
    layout = choose_layout(panel, samples=samples, positives=positives)
    parts, prior, statistics = layout.parts, layout.prior, layout.statistics
    scale = None
    if target.task == "forecast" and not raw_target:
        scale = fit_scale(labels, train=parts.train, name=panel.name)
    rows = {part: input_rows(ends, context=panel.context, rows=len(times)) for part, ends in parts.ends.items()}
    normaliser = fit(values[rows["train"]], kind=panel.normalise)
    drift = drift_table(values, features=panel.features, rows=rows)
    steps = steps_of(times, ends=parts.ends, context=panel.context, horizon=target.label_span)
    described = {
        part: _part(ends, panel=panel, digest=parts.hashes[part], found=statistics[part])
        for part, ends in parts.ends.items()
    }
    description = DataReport(
        name=panel.name,
        features=tuple(panel.features),
        context=panel.context,
        look_back=panel.look_back,
        task=target.task,
        outputs=target.outputs,
        target=TargetReport(**target.to_json()),
        rows=len(times),
        first=stamp(times[0]),
        last=stamp(times[-1]),
        base_rate=base_rate(labels[np.isfinite(labels)]),
        base_rates_per_year=tuple(rates_per_year(labels, times=times, ends=parts.ends)),
        prior=prior,
        split=SplitReport(
            kind=panel.split.kind,
            hash=parts.hash,
            purge=parts.purge,
            embargo=parts.embargo,
            options=attrs.asdict(panel.split),
            chosen=layout.chosen or None,
            parts=described,
        ),
        normalise=NormalisationReport(**normaliser.to_json(panel.features)),
        drift=tuple(drift),
        baselines=tuple(
            baseline.report()
            for baseline in baselines(
                panel.values,
                labels,
                train=parts.train,
                val=parts.val,
                features=panel.features,
                target=target,
                context=panel.context,
            )
        ),
        fingerprint=_fingerprint(panel, parts=parts, scaled=scale is not None),
        flags=(
            *_flags(panel, layout=layout, drift=drift, normaliser=normaliser, described=described),
            *([] if steps is None or (gaps := steps_flag(steps)) is None else [gaps]),
        ),
        details=plain(panel.details),
        target_scale=scale,
        seed_data=None if scale is None else _seed_data(panel, parts=parts, scale=scale),
        steps=steps,
    )
    return _Prepared(description=description, parts=parts, normaliser=normaliser, values=values, scale=scale)


def _part(ends: npt.NDArray[np.int64], *, panel: Panel, digest: str, found: PartStatistics) -> PartReport:
    """Describe a part and its dates. The label of its last window may depend on rows after the end of the table."""
    horizon, last_row = panel.target.label_span, len(panel.times) - 1
    times = panel.times
    first_label, last_label = (
        min(int(end) + step, last_row) for end, step in ((ends[0], min(1, horizon)), (ends[-1], horizon))
    )
    return PartReport(
        hash=digest,
        stretches=int((np.diff(ends) > 1).sum()) + 1,
        samples=(stamp(times[ends[0]]), stamp(times[ends[-1]])),
        inputs=(stamp(times[ends[0] - panel.context + 1]), stamp(times[ends[-1]])),
        labels=(stamp(times[first_label]), stamp(times[last_label])),
        windows=found.windows,
        effective=found.effective,
        effective_rarest=found.effective_rarest if found.classes is not None else None,
        positives=found.positives,
        classes=found.classes,
        base_rate=found.base_rate,
        prior_loss=found.prior_loss,
        entropy=found.entropy,
    )


def _flags(
    panel: Panel,
    *,
    layout: Layout,
    drift: Sequence[DriftReport],
    normaliser: Normaliser,
    described: Mapping[str, PartReport],
) -> list[dict[str, str]]:
    """Return the warnings that are stored with every trial."""
    flags, parts = [dict(flag) for flag in panel.flags], layout.parts
    strong = list(dict.fromkeys(row.feature for row in drift if row.strong))
    if strong and panel.normalise == "none":
        text = f"features drift strongly from training to validation or test, and are not normalised: {_few(strong)}"
        flags.append({"guard": "G08", "text": text})
    if normaliser.constant:
        constant = [panel.features[column] for column in normaliser.constant]
        flags.append({"guard": "G08", "text": f"features are constant in training: {_few(constant)}"})
    if parts.proven_look_back < panel.look_back:
        text = (
            f"split.purge {parts.purge} keeps windows and labels of the parts apart, but features look back "
            f"{panel.look_back} rows, of which it covers {parts.proven_look_back}"
        )
        flags.append({"guard": "G54", "text": text})
    if layout.chosen:
        chosen = ", ".join(f"{name}: {value}" for name, value in layout.chosen.items())
        text = (
            f"the defaults of a {panel.split.kind} split do not fit {len(panel.times)} rows: split: {{{chosen}}} was "
            "chosen instead"
        )
        flags.append({"guard": "G54", "text": text})
    for part in PARTS:
        absent = [number for number, count in enumerate(described[part].classes or ()) if not count]
        if absent:
            flags.append({"guard": "G06", "text": f"{part} has no window of class {', '.join(map(str, absent))}"})
    return flags


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _seed_data(panel: Panel, *, parts: Parts, scale: TargetScale) -> str:
    """Return the fingerprint with standardised, rounded labels, which does not depend on the unit of the target."""
    standardised = np.round((panel.labels - scale.mean) / scale.std, 5)
    return _fingerprint(attrs.evolve(panel, labels=standardised), parts=parts, scaled=True)


def _fingerprint(panel: Panel, *, parts: Parts, scaled: bool) -> str:
    """Return the SHA-256 of the content, which does not depend on the path or format of a file."""
    digest = hashlib.sha256()
    definition = {
        "features": list(panel.features),
        "target": panel.target.hash,
        "split": parts.hash,
        "context": panel.context,
        "normalise": panel.normalise,
        # Omitted for raw targets, so that data prepared by version 0.1 keeps its fingerprint.
        **({"target_scale": CONVENTION} if scaled else {}),
    }
    digest.update(canonical_json(definition).encode())
    digest.update(panel.times.astype("datetime64[ns]").astype("<i8").tobytes())
    # Adding zero turns -0.0 into 0.0; every NaN gets the same bits.
    digest.update((panel.values.astype("<f8", order="C") + 0.0).tobytes())
    digest.update(np.where(np.isnan(panel.labels), np.nan, panel.labels + 0.0).astype("<f8").tobytes())
    return digest.hexdigest()

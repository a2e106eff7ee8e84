"""Coverage and width of 95 % intervals over dependent windows: the library's method, that of 0.1, and fixed-b.

    python benchmarks/intervals.py [--short] [--json PATH]

Each case draws many samples with a known mean or metric. Coverage is the share of intervals that contain it. Width is
relative to the interval of an estimate with known variance, which is measured over the samples. Three methods:

- `cosines`: the library's, as it computes intervals of losses (with bounds), of differences and of metrics;
- `bootstrap`: the circular block bootstrap of version 0.1, with its block lengths and 1,000 resamples;
- `fixed-b`: Bartlett's kernel with 1.3 sqrt(windows) lags, at least two label spans, and the critical values of Kiefer
  and Vogelsang (2005). It was the alternative; only means are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from attrs import frozen
from report import arguments, show
from scipy.fft import irfft, rfft
from scipy.signal import lfilter
from scipy.special import ndtri

from scalecore.data.intervals import NO_BOUNDS, NOT_NEGATIVE, half_width, interval_around, mean_errors
from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.tasks import task_named

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Floats]
"""From generator, samples and windows to series [samples, windows]."""

Z = 1.959964
RESAMPLES = 1000
RATIOS = ("auc", "f1", "precision", "accuracy", "pr_auc")


@frozen(kw_only=True)
class Case:
    """A process whose mean is `truth`, or estimated from long series if that is None."""

    name: str
    draw: Draw
    windows: int
    span: int = 1
    truth: float | None = 0.0
    bounds: tuple[float, float] = NO_BOUNDS
    required: float | None = None


# --- series -----------------------------------------------------------------------------------------------------------


def overlapping(generator: np.random.Generator, samples: int, windows: int, *, span: int) -> Floats:
    """Sums of `span` independent rows, as labels over a horizon are; variance 1."""
    total = np.cumsum(np.pad(generator.normal(size=(samples, windows + span - 1)), ((0, 0), (1, 0))), axis=1)
    sums: Floats = (total[:, span:] - total[:, :-span]) / math.sqrt(span)
    return sums


def persistent(generator: np.random.Generator, samples: int, windows: int, *, weight: float) -> Floats:
    """An autoregression with variance 1."""
    before = math.ceil(10 / (1 - weight))
    noise = generator.normal(size=(samples, windows + before))
    series: Floats = lfilter([1.0], [1.0, -weight], noise, axis=1)[:, before:] * math.sqrt(1 - weight**2)
    return series


def log_losses(generator: np.random.Generator, samples: int, windows: int, *, span: int) -> Floats:
    """Of labels with 18 % positives over `span` rows, by probabilities that vary and do not help."""
    positive = overlapping(generator, samples, windows, span=span) > float(ndtri(0.82))
    logit = 0.6 * persistent(generator, samples, windows, weight=0.7) - 1.6
    losses: Floats = np.logaddexp(0.0, np.where(positive, -logit, logit))
    return losses


def difference_of_losses(generator: np.random.Generator, samples: int, windows: int, *, span: int) -> Floats:
    """Log losses of two equally good models on the same labels."""
    hidden = overlapping(generator, samples, windows, span=span)
    positive = hidden > float(ndtri(0.7))
    losses = []
    for _ in range(2):
        logit = 0.4 * hidden + 0.8 * persistent(generator, samples, windows, weight=0.7) - 0.9
        losses.append(np.logaddexp(0.0, np.where(positive, -logit, logit)))
    return np.asarray(losses[0] - losses[1])


def slow(generator: np.random.Generator, samples: int, windows: int, *, span: int) -> Floats:
    """A tenth of the variance is an autoregression with weight 0.985."""
    fast = overlapping(generator, samples, windows, span=span)
    return math.sqrt(0.9) * fast + math.sqrt(0.1) * persistent(generator, samples, windows, weight=0.985)


def adjacent(generator: np.random.Generator, samples: int, windows: int) -> Floats:
    """A stretch less the next one of the same series, a quarter of whose variance is an autoregression with weight 0.9:
    the correlations of one window sum to 5.5, as measured on real losses."""
    noise = generator.normal(size=(samples, 2 * windows))
    series = math.sqrt(0.75) * noise + math.sqrt(0.25) * persistent(generator, samples, 2 * windows, weight=0.9)
    return series[:, :windows] - series[:, windows:]


def cases() -> Iterator[Case]:
    """All cases of means and paired differences."""
    for windows in (150, 500):
        for span in (1, 5, 20):
            common: dict[str, Any] = {"windows": windows, "span": span, "required": 0.92}
            positive = common | {"bounds": NOT_NEGATIVE}
            yield Case(name="overlapping labels", draw=partial_of(overlapping, span=span), **common)
            yield Case(name="difference of log losses", draw=partial_of(difference_of_losses, span=span), **common)
            yield Case(name="log losses", draw=partial_of(log_losses, span=span), truth=None, **positive)
            squares = squared(partial_of(overlapping, span=span))
            yield Case(name="squared errors", draw=squares, truth=1.0, **positive)
            if span < 20:
                powers = exponential(partial_of(overlapping, span=span))
                yield Case(name="lognormal losses", draw=powers, truth=math.exp(0.5), **positive)
        yield Case(name="AR(.9)", draw=partial_of(persistent, weight=0.9), windows=windows, required=0.85)
        for span in (1, 5):
            yield Case(name="slow component", draw=partial_of(slow, span=span), windows=windows, span=span)
    yield Case(name="adjacent stretches", draw=adjacent, windows=614)


def partial_of(draw: Callable[..., Floats], **given: Any) -> Draw:
    """`draw` with its options."""
    return lambda generator, samples, windows: draw(generator, samples, windows, **given)


def squared(draw: Draw) -> Draw:
    """Squares of a series."""
    return lambda *given: draw(*given) ** 2


def exponential(draw: Draw) -> Draw:
    """The lognormal form of a series."""
    return lambda *given: np.exp(draw(*given))


# --- methods ----------------------------------------------------------------------------------------------------------


def by_cosines(series: Floats, case: Case) -> tuple[Floats, Floats]:
    """Low and high ends [samples]."""
    halves = half_width(mean_errors(series, overlap=case.span))
    found = [
        interval_around(mean, half, bounds=case.bounds)
        for mean, half in zip(series.mean(axis=1).tolist(), halves.tolist(), strict=True)
    ]
    return np.array([one.low for one in found if one]), np.array([one.high for one in found if one])


def by_bootstrap(series: Floats, case: Case) -> tuple[Floats, Floats]:
    """Percentiles; version 0.1 used the same blocks for all losses of a data set."""
    counts = block_counts(case.windows, span=case.span)
    ends = [np.quantile(part @ counts.T / case.windows, (0.025, 0.975), axis=1) for part in np.array_split(series, 20)]
    low, high = np.concatenate(ends, axis=1)
    return low, high


def by_fixed_b(series: Floats, case: Case) -> tuple[Floats, Floats]:
    """Bartlett's kernel with fixed-b critical values."""
    windows, mean = case.windows, series.mean(axis=1)
    lags = min(windows // 2, math.ceil(max(1.3 * math.sqrt(windows), 2 * case.span)))
    spectrum = np.abs(rfft(series - mean[:, None], 2 * windows, axis=1)) ** 2
    covariances = irfft(spectrum, axis=1)[:, :lags] / windows
    weights = 1 - np.arange(lags) / lags
    variance = (2 * covariances @ weights - covariances[:, 0]) / windows
    share = lags / windows
    critical = 1.96 + 2.9694 * share + 0.416 * share**2 - 0.5324 * share**3
    half = critical * np.sqrt(variance)
    return mean - half, mean + half


def block_counts(windows: int, *, span: int) -> Floats:
    """How often each resample [resamples, windows] of version 0.1 contains each window."""
    longest = max(span, windows ** (1 / 3), ((span - 1 / span) ** 2 * windows / 6) ** (1 / 3))
    block = math.ceil(round(longest, 9))
    starts = np.random.default_rng(0).integers(0, windows, size=(RESAMPLES, -(-windows // block)))
    indices = ((starts[:, :, None] + np.arange(block)) % windows).reshape(RESAMPLES, -1)[:, :windows]
    return np.stack([np.bincount(row, minlength=windows) for row in indices]).astype(np.float64)


METHODS = {"bootstrap": by_bootstrap, "fixed-b": by_fixed_b, "cosines": by_cosines}


def row_of(case: Case, *, samples: int) -> dict[str, Any]:
    """Coverage and width of each method on the same samples."""
    generator = np.random.default_rng(1)
    truth = case.truth
    if truth is None:
        truth = float(np.mean([case.draw(generator, 100, 20_000).mean() for _ in range(5)]))
    series = case.draw(generator, samples, case.windows)
    known = 2 * Z * series.mean(axis=1).std()
    row: dict[str, Any] = {"case": case.name, "windows": case.windows, "span": case.span, "required": case.required}
    for name, method in METHODS.items():
        low, high = method(series, case)
        row[name] = float(((low <= truth) & (truth <= high)).mean())
        row[f"{name} width"] = float((high - low).mean() / known)
    return row


# --- ratios -----------------------------------------------------------------------------------------------------------


def predictions(generator: np.random.Generator, windows: int, *, span: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [windows, 1] and labels with 30 % positives over `span` rows; AUC 0.67."""
    hidden = overlapping(generator, 1, windows, span=span)[0]
    signal = 0.35 * hidden + math.sqrt(1 - 0.35**2) * persistent(generator, 1, windows, weight=0.9)[0]
    labels = (hidden > float(ndtri(0.7))).astype(np.float64)
    return torch.from_numpy(1.5 * signal - 0.7)[:, None], torch.from_numpy(labels)


def ratio_rows(windows: int, *, span: int, samples: int) -> Iterator[dict[str, Any]]:
    """The metrics of a binary trial, by cosines on influences and by the percentiles of resampled metrics."""
    task, generator = task_named("binary"), np.random.default_rng(2)
    truth = task.metrics(*predictions(generator, 2_000_000, span=span))
    counts_RN = torch.from_numpy(block_counts(windows, span=span))
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    values: dict[str, list[float]] = {name: [] for name in RATIOS}
    found: dict[str, dict[str, list[tuple[float, float]]]] = {
        method: {name: [] for name in RATIOS} for method in ("bootstrap", "cosines")
    }
    for number in range(samples):
        logits_NC, labels_N = predictions(generator, windows, span=span)
        intervals, _ = metric_intervals(task, logits_NC, labels_N, overlap=span)
        for name, value in task.metrics(logits_NC, labels_N).items():
            if name in RATIOS and value is not None:
                values[name].append(value)
        for name in RATIOS:
            if (one := intervals[name]) is not None:
                found["cosines"][name].append((one["low"], one["high"]))
        if number % 4:
            continue
        resampled = torch.vmap(task.measure(logits_NC, labels_N))(counts_RN)
        for name in RATIOS:
            defined = resampled[name][~resampled[name].isnan()]
            if len(defined) >= 0.95 * RESAMPLES:
                low, high = torch.quantile(defined, ends).tolist()
                found["bootstrap"][name].append((low, high))
    for name in RATIOS:
        row: dict[str, Any] = {"case": name, "windows": windows, "span": span, "required": None}
        for method in METHODS:
            low, high = np.array(found[method][name]).T if method in found else (None, None)
            known = 2 * Z * np.std(values[name])
            row[method] = None if low is None else float(((low <= truth[name]) & (truth[name] <= high)).mean())
            row[f"{method} width"] = None if low is None else float((high - low).mean() / known)
        yield row


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    samples, of_ratios = (400, 20) if options.short else (10_000, 2_000)
    rows = [row_of(case, samples=samples) for case in cases()]
    for windows, span in ((500, 5),) if options.short else ((150, 5), (500, 5), (500, 20)):
        rows += ratio_rows(windows, span=span, samples=of_ratios)
    below = [row for row in rows if row["required"] and row["cosines"] < row["required"]]
    notes = [
        f"{samples:,} samples a case of means, {of_ratios:,} of metrics; the bootstrap of every fourth. "
        f"The standard error of a coverage of 0.95 is {math.sqrt(0.95 * 0.05 / samples):.4f} or "
        f"{math.sqrt(0.95 * 0.05 / of_ratios):.4f}.",
        "below what is required: "
        + ("; ".join(f"{row['case']}, {row['windows']} windows, span {row['span']}" for row in below) or "none"),
    ]
    show("coverage and relative width of 95 % intervals over windows", rows, notes=notes, path=options.json)


if __name__ == "__main__":
    main()

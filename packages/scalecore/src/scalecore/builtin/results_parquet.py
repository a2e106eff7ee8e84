"""Logger `parquet`: `trials.parquet` and `epochs.parquet`, one row a finished trial and one row an epoch of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalecore.api.files import write_bytes
from scalecore.api.protocols import Logger, LoggerContext
from scalecore.api.trials import StudyView, TrialRecord
from scalecore.builtin.options import ParquetLoggerOptions

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetLogger", "differences", "epochs_table", "trials_table"]

TRIALS, EPOCHS = "trials.parquet", "epochs.parquet"


class ParquetLogger(Logger):
    """Both files are replaced in one step after every trial, and made anew from the study when it starts: a reader
    never sees a part of one, and no trial is in them twice.
    """

    def __init__(self, options: ParquetLoggerOptions, context: LoggerContext) -> None:
        self._folder = options.path or context.folder
        self._parts: dict[int, pa.Table] = {}
        """The epochs of each trial: a long study is not translated again after every trial."""

    def study_started(self, study: StudyView) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write(study)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._write(study)

    def _write(self, study: StudyView) -> None:
        for record in study.trials:
            if record.number not in self._parts:
                self._parts[record.number] = epochs_table(study, [record])
        parts = [self._parts[record.number] for record in study.trials]
        _replace(self._folder / TRIALS, trials_table(study))
        _replace(self._folder / EPOCHS, _joined(parts) if parts else epochs_table(study, ()))


def trials_table(study: StudyView) -> pa.Table:
    """One row a finished trial, in the order of their numbers; missing is null.

    Dimensions, hyper-parameters and the metrics of the best epoch have columns of their own, named
    `architecture.d_model`, `hyperparameters.dropout`, `best.accuracy`.
    """
    import pyarrow as pa

    rows = [_trial_row(study, record) for record in study.trials]
    types = {
        **dict.fromkeys(("trial", "best_epoch", "seed", "param_count", "flops", "peak_memory"), pa.int64()),
        **dict.fromkeys(("value", "duration", "throughput"), pa.float64()),
        **dict.fromkeys(("started", "ended"), pa.timestamp("ms", tz="UTC")),
        "flags": pa.list_(pa.string()),
    }
    names = list(dict.fromkeys(name for row in rows for name in row)) or [*_identity(study), *types]
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name.startswith("hyperparameters."):
            kind, values = _kind(values)
        elif name.startswith(("architecture.", "best.")):
            kind = pa.int64() if name.startswith("architecture.") else pa.float64()
        else:
            kind = types.get(name, pa.string())
        columns[name] = pa.array(values, type=kind)
    return pa.table(columns)


def epochs_table(study: StudyView, records: Sequence[TrialRecord]) -> pa.Table:
    """One row an epoch of these finished trials: `study`, `trial`, `hash`, `epoch`, and what the curve holds."""
    import pyarrow as pa

    rows = [
        {**_identity(study), "trial": record.number, "hash": record.hash, **line}
        for record in records
        for line in record.learning_curve
    ]
    texts, counts = (*_identity(study), "hash"), ("trial", "epoch")
    names = dict.fromkeys((*_identity(study), "trial", "hash", "epoch", *(name for row in rows for name in row)))
    columns = {}
    for name in names:
        kind = pa.string() if name in texts else pa.int64() if name in counts else pa.float64()
        columns[name] = pa.array([row.get(name) for row in rows], type=kind)
    return pa.table(columns)


def differences(folder: Path, study: StudyView) -> Iterator[str]:
    """What the files do not hold as the study gives it; in words."""
    import pyarrow as pa
    from pyarrow import parquet

    for name, expected in ((TRIALS, trials_table(study)), (EPOCHS, epochs_table(study, study.trials))):
        try:
            found = parquet.read_table(folder / name, partitioning=None)
        except FileNotFoundError:
            yield f"{name} is missing"
        except (OSError, pa.ArrowException) as error:
            yield f"{name} cannot be read: {error}"
        else:
            same = set(found.column_names) == set(expected.column_names)
            if not same or not found.select(expected.column_names).equals(expected):
                yield f"{name} differs from what the journal gives"


def _identity(study: StudyView) -> dict[str, str]:
    """Tells the rows of several studies apart where their tables are put together."""
    return {"experiment": study.name, "study": study.id}


def _trial_row(study: StudyView, record: TrialRecord) -> dict[str, Any]:
    best = record.best or {}
    return {
        **_identity(study),
        "trial": record.number,
        "hash": record.hash,
        "state": str(record.state),
        "reason": record.reason,
        "metric": study.experiment["objective"]["metric"],
        "value": record.value,
        "origin": record.origin.kind,
        "label": record.origin.label,
        "best_epoch": best.get("epoch"),
        "started": _time(record.started),
        "ended": _time(record.ended),
        "duration": record.duration,
        "throughput": record.throughput,
        "peak_memory": record.memory.get("measured"),
        "seed": record.seed,
        "param_count": record.architecture.num_parameters,
        "flops": record.architecture.flops,
        "flags": sorted({str(flag["guard"]) for flag in record.flags}),
        **{f"architecture.{name}": value for name, value in record.architecture.values.items()},
        **{f"hyperparameters.{name}": value for name, value in record.hyperparameters.items()},
        **{f"best.{name}": value for name, value in _numbers(best).items() if name != "epoch"},
    }


def _numbers(line: Mapping[str, Any]) -> dict[str, float | None]:
    known = {name: value for name, value in line.items() if value is None or isinstance(value, int | float)}
    return {name: None if value is None else float(value) for name, value in known.items()}


def _kind(values: list[Any]) -> tuple[Any, list[Any]]:
    """The type of a hyper-parameter's column: choices may be of any type, and of several."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_(), values
    if kinds <= {int}:
        return pa.int64(), values
    if kinds <= {int, float}:
        return pa.float64(), values
    return pa.string(), [None if value is None else str(value) for value in values]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _joined(parts: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(parts, promote_options="default")


def _replace(path: Path, table: pa.Table) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    write_bytes(path, sink.getvalue().to_pybytes(), durable=False)

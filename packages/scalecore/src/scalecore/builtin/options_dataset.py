"""Options of the dataset `parquet`."""

from datetime import datetime
from typing import Annotated, Literal

from annotated_types import Ge, MinLen
from attrs import frozen

from scalecore.api.dataset_options import Normalisation, ReadOptions, Split, TargetOptions
from scalecore.api.options import ExistingFile, option


@frozen(kw_only=True)
class PriceColumns:
    """The columns with the prices of the target, spelled as in the file."""

    close: str = option("Close", help="The closing price.")
    high: str = option("High", help="The highest price; only used with `price: high`.")


@frozen(kw_only=True)
class PriceTarget(TargetOptions):
    """A target computed from prices: `kind: threshold`, `direction` or `forward_return`."""

    columns: PriceColumns = option(factory=PriceColumns, help="The columns with the prices.")


@frozen(kw_only=True)
class LabelTarget:
    """A target given by a column: its value in row t is the label of the window that ends at t."""

    kind: Literal["label"] = option("label", help="The labels are in a column.")
    column: str = option(help="The column with the labels: 0 and 1, class numbers from 0, or numbers to forecast.")
    horizon: Annotated[int, Ge(0)] = option(
        1, help="Rows after its own that a label depends on; the purge between the parts of the split covers them."
    )
    task: Literal["binary", "multiclass", "forecast"] | None = option(
        None,
        help="Type of the labels; by default 0 and 1 are binary, other integers classes, anything else a forecast.",
    )


@frozen(kw_only=True)
class ParquetOptions:
    """A table in a parquet or CSV file, one row per time, ascending and without duplicates."""

    path: ExistingFile = option(
        help="The file: `.parquet`, `.pq`, `.csv`, `.tsv` or `.txt`, text also compressed, as `.csv.gz`; or a folder "
        "of parquet files, also in subfolders such as `year=2020`."
    )
    time: str | None = option(
        None,
        help="Column or index with the times; by default an index of dates, else a column named Date, date, Datetime, "
        "datetime, Time, time, Timestamp or timestamp.",
    )
    features: Annotated[list[str], MinLen(1)] = option(help="The input columns of the model, in this order.")
    target: PriceTarget | LabelTarget = option(help="What to predict; `kind` selects the definition.")
    context: Annotated[int, Ge(1)] = option(60, help="Rows per window.")
    split: Split = option(factory=Split, help="How windows are divided into training, validation and test.")
    normalise: Normalisation = option("standard", help="How to scale features; fitted on training rows only.")
    start: str | None = option(None, help="First date to use, such as 1999-03-10.")
    end: str | None = option(None, help="Last date to use; nothing after it is read, not even by labels.")
    read: ReadOptions = option(
        factory=ReadOptions, before=ReadOptions(), help="How the file formats times, numbers and text."
    )

    def __attrs_post_init__(self) -> None:
        for name, text in (("start", self.start), ("end", self.end)):
            try:
                aware = text is not None and datetime.fromisoformat(text).tzinfo is not None
            except ValueError:
                raise ValueError(f"{name}: {text!r} is not a date such as 1999-03-10") from None
            if aware:
                raise ValueError(f"{name}: {text!r} must not name a time zone")

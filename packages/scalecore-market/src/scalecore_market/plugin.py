"""The dataset `market`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import DatasetRecord
from scalecore_market.options import MarketOptions

if TYPE_CHECKING:
    from scalecore.api.dataset import Dataset, DatasetContext

__all__ = ["scalecore_datasets"]


def _market(options: MarketOptions, context: DatasetContext) -> Dataset:
    from scalecore_market.dataset import MarketDataset

    return MarketDataset(options)


@hookimpl
def scalecore_datasets() -> Iterable[DatasetRecord]:
    """The dataset `market`."""
    return [
        DatasetRecord(
            name="market",
            summary="Daily prices of one symbol as a tier of features, with versions and checksums.",
            options=MarketOptions,
            factory=_market,
            task=lambda options: options.target.task,
        )
    ]

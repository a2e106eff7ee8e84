"""Daily market data for scalecore: feature tiers, targets, manifests."""

__all__ = ["__version__"]

__version__ = "0.1.0"

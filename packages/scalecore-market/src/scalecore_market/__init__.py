"""Daily market data for scalecore: feature tiers, targets, manifests. The entry point is `scalecore_market.plugin`."""

"""Work after a search: confirm, evaluate, predict. The entry point is `scalecore_promotion.plugin`."""

"""Hardware monitors for scalecore: memory, temperature, disk and GPU. The entry point is `scalecore_hwmon.plugin`."""

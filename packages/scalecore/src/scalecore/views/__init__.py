"""What commands read of a kept study."""

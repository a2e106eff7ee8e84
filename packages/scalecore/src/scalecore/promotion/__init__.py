"""What comes after a search: train chosen trials again, open the test data, apply a model. See docs/results.md."""

"""The parts of `benchmarks/estimator_accuracy.py`."""

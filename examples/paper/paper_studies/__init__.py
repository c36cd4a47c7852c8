"""What the scripts in `examples/paper` share: reading a benchmark, the paper's tables, and the meaning of λ."""

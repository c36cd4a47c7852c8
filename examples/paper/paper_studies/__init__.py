"""The code behind the scripts in `examples/paper`: reading a benchmark, the paper's tables, and the meaning of λ."""

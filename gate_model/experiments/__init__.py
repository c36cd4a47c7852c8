"""What is run with GATE: one training, a search, a comparison."""

"""Training GATE with a constant λ, a learned λ, or a rule that weights the tasks."""

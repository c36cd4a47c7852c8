"""GATE: multi-task molecular property regression with learned transfer ratios."""

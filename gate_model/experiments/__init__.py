"""Experiments with GATE: comparisons of methods, searches, the leaderboard and Figure 1 of the paper."""

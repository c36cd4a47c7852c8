"""Figure 3 of the paper, repeated. See docs/paper.md."""

from paper_studies.command import OutOption, RunArgument, analyse, start
from paper_studies.repeated.figure_3 import figure_3

__all__ = ["main"]


def main(run: RunArgument, out: OutOption) -> None:
    """Plot the validation RMSE over the epochs: is learned λ faster than constant λ, and is its band narrower?

    The script trains nothing. It reads RUN, the folder that `gate benchmark --out RUN` has written.
    The run must have the methods lambda=1-plain, direct, lambda=0-plain, budget and lambda=0; lambda=1-sum and
    direct-sum are used too if they are there.

    It writes to --out: figure_3.csv (mean and std by epoch), curves.csv (every seed), epochs_to_reach.csv,
    spread.csv, findings.md, and the figure figure_3 as HTML and PNG.

    Example: python examples/paper/figure_3.py runs/leaderboard --out runs/figure_3
    """
    analyse("figure_3", figure_3, run, out)


if __name__ == "__main__":
    start(main)

"""Table 1 of the paper, repeated. See docs/paper.md."""

from paper_studies.command import OutOption, RunArgument, analyse, start
from paper_studies.repeated.table_1 import table_1

__all__ = ["main"]


def main(run: RunArgument, out: OutOption) -> None:
    """Print the RMSE of every task with constant and with learned λ, beside the paper's numbers.

    The script trains nothing. It reads RUN, the folder that `gate benchmark --out RUN` has written.
    The run must have the methods lambda=1-plain, direct, lambda=0-plain, budget and lambda=0; lambda=1-sum and
    direct-sum are used too if they are there.

    It writes to --out: table_1.csv, findings.md, and the figure table_1 as HTML and PNG.

    Example: python examples/paper/table_1.py runs/leaderboard --out runs/table_1
    """
    analyse("table_1", table_1, run, out)


if __name__ == "__main__":
    start(main)

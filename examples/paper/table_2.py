"""Table 2 of the paper, repeated. See docs/paper.md."""

from paper_studies.command import OutOption, RunArgument, analyse, start
from paper_studies.repeated.table_2 import table_2

__all__ = ["main"]


def main(run: RunArgument, out: OutOption) -> None:
    """Count the tasks that learned λ improves compared with GATE and with λ = 0, and print by how much.

    The script trains nothing. It reads RUN, the folder that `gate benchmark --out RUN` has written.
    The run must have the methods lambda=1-plain, direct, lambda=0-plain, budget and lambda=0; lambda=1-sum and
    direct-sum are used too if they are there.

    It writes to --out: table_2.csv (comparisons), improvements.csv (by task), findings.md, and the figure
    table_2 as HTML and PNG.

    Example: python examples/paper/table_2.py runs/leaderboard --out runs/table_2
    """
    analyse("table_2", table_2, run, out)


if __name__ == "__main__":
    start(main)

"""The claim on λ in the paper's Discussion, tested. See docs/paper.md."""

from paper_studies.command import OutOption, RunArgument, analyse, start
from paper_studies.repeated.discussion import discussion

__all__ = ["main"]


def main(run: RunArgument, out: OutOption) -> None:
    """Are 95 % of the quadratic variations of λ below 0.1, and what does that mean?

    The script trains nothing. It reads RUN, the folder that `gate benchmark --out RUN` has written.
    The run must have at least one of the methods direct, direct-sum, budget and free.

    It writes to --out: discussion.csv (by seed), pairs.csv (every λ), findings.md, and the figure discussion
    as HTML and PNG.

    Example: python examples/paper/discussion.py runs/leaderboard --out runs/discussion
    """
    analyse("discussion", discussion, run, out)


if __name__ == "__main__":
    start(main)

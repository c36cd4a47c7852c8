"""Is learned λ the same in every seed, and does it agree with chemistry? See docs/meaning.md."""

from paper_studies.analysis import check_folder
from paper_studies.benchmark_run import BenchmarkRun
from paper_studies.command import OutOption, RunArgument, command_typed, show, start
from paper_studies.meaning.labels import label_correlations
from paper_studies.meaning.learned_lambda import learned_lambdas, seeds_of
from paper_studies.meaning.stability import stability_analysis

__all__ = ["main"]


def main(run: RunArgument, out: OutOption) -> None:
    """Is learned λ the same in every seed, and does it agree with chemistry?

    The script trains nothing. It reads RUN, the folder that `gate benchmark --out RUN` has written, and loads its
    molecules again. The run must have at least three tasks, two seeds and a method that learns λ, such as budget.

    It writes to --out: stability.csv, variance.csv, pairs.csv, lambda.csv, findings.md, findings.json, and figures as
    HTML and PNG.

    Example: python examples/paper/stability.py runs/leaderboard --out runs/stability
    """
    check_folder(out, "stability")
    benchmark = BenchmarkRun(run)
    learned = learned_lambdas(benchmark)
    table = benchmark.table()
    labels = label_correlations(table.labels, (benchmark.split(table, seed).train for seed in seeds_of(learned)))
    about = {"command": command_typed(), "run": benchmark.config}
    show(out, stability_analysis(learned, benchmark.tasks, labels, about))


if __name__ == "__main__":
    start(main)

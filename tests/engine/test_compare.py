"""The comparison of methods on a problem whose best λ is known: every number against a training done by hand."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from optuna.pruners import MedianPruner
from torch import nn

from bilevel_hpo import (
    BilevelLearner,
    Box,
    Budget,
    FiniteDifference,
    LossWeights,
    Neumann,
    OneStep,
    TransferRatios,
    WeightsDict,
)
from bilevel_hpo.comparison import (
    Answer,
    BestOf,
    Constant,
    Frozen,
    Job,
    Learned,
    Metric,
    OneTraining,
    Proposals,
    Run,
    Scores,
    Setting,
    Single,
    Trained,
    best_constant,
    compare,
    default_methods,
    grid,
    random,
    tpe,
)
from bilevel_hpo.errors import DivergedError
from bilevel_hpo.run_folder import RunError

pytestmark = pytest.mark.filterwarnings("ignore::bilevel_hpo.UncertifiedWarning")

CENTRES = torch.tensor([1.0, -1.0, 0.5])
"""Task k pulls θ to CENTRES[k]; the validation loss wants 1."""


class Point(nn.Module):
    """θ."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.randn(()))


def train_loss(model: Any, weights: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """Σ_k λ_k (θ − c_k)²."""
    return (weights * (model.theta - batch) ** 2).sum()


def val_loss(model: Any, weights: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """(θ − 1)²."""
    return (model.theta - 1.0) ** 2


def learner_of(model: Point, run: Run) -> BilevelLearner:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return run.learner(model, optimizer, train_loss=train_loss, val_loss=val_loss)


def pulled(run: Run) -> Scores:
    """Scores of two tasks; the selection data want θ = 1, the test data 0.9."""
    model = Point()
    noise = 0.01 * torch.randn(3)
    batches = [CENTRES + noise] * 5
    run.fit(learner_of(model, run), batches, batches, epochs=4, score=lambda: abs(float(model.theta.detach()) - 1.0))
    theta = float(model.theta.detach())
    return Scores(
        {"near": abs(theta - 1.0), "far": 2 * abs(theta - 1.0)},
        test=lambda: {"near": abs(theta - 0.9), "far": 2 * abs(theta - 0.9)},
    )


def weights() -> LossWeights:
    return LossWeights(["a", "b", "c"], init=0.5, constraint=Box(0.0, 1.0))


LEARNED = Learned(outer_lr=0.05, outer_every=1, warm_up=0.0)
METHODS = [LEARNED, Frozen(), Constant(1.0), grid((0.0, 1.0)), tpe(trials=5), random(trials=4, parallel=2)]


def by_hand(seed: int, lambda_: list[float] | None) -> tuple[float, list[float]]:
    """θ and λ at the end of the same training without `compare`."""
    torch.manual_seed(seed)
    module = weights()
    if lambda_ is not None:
        module.set_(lambda_)
    model = Point()
    noise = 0.01 * torch.randn(3)
    learner = BilevelLearner(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        module,
        train_loss=train_loss,
        val_loss=val_loss,
        hypergradient=OneStep(),
        outer_optimizer=torch.optim.Adam(module.parameters(), lr=0.05),
    )
    batches = [CENTRES + noise] * 5
    learner.fit(batches, batches, epochs=4, outer_every=1 if lambda_ is None else None)
    return float(model.theta.detach()), module().detach().double().tolist()


def results(folder: Path, *, without_times: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    if without_times:
        for method in found["methods"]:
            del method["wall_s"], method["cpu_s"]
        del found["command"]
    return found


def method(found: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = [each for each in found["methods"] if each["name"] == name]
    return dict(one)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare") / "run"
    compare(pulled, weights(), METHODS, out=folder, seeds=2, on=1, progress=False)
    return folder


def test_learned_and_constant_are_the_trainings_done_by_hand(done: Path) -> None:
    found = results(done)
    for seed in (0, 1):
        theta, lambda_ = by_hand(seed, None)
        learned = method(found, "learned")
        assert learned["lambda"]["per_seed"][seed] == lambda_
        assert learned["test"]["near"][seed] == abs(theta - 0.9)
        assert learned["selection"]["far"][seed] == 2 * abs(theta - 1.0)
        frozen = method(found, "learned-frozen")
        assert frozen["test"]["near"][seed] == abs(by_hand(seed, lambda_)[0] - 0.9)
        assert frozen["lambda"] == learned["lambda"]
        constant = method(found, "lambda=1")
        assert constant["test"]["near"][seed] == abs(by_hand(seed, [1.0, 1.0, 1.0])[0] - 0.9)
    assert method(found, "learned-frozen")["training_runs"] == 2
    assert found["tasks"] == ["near", "far"]


def test_the_winner_of_a_search_is_the_best_on_the_selection_data(done: Path) -> None:
    found = method(results(done), "grid")
    for seed in (0, 1):
        points = [[float(bit) for bit in f"{number:03b}"] for number in range(8)]
        near = [abs(by_hand(seed, point)[0] - 1.0) for point in points]
        best = near.index(min(near))
        assert found["lambda"]["per_seed"][seed] == points[best]
        assert found["selection"]["near"][seed] == near[best]
        assert found["test"]["near"][seed] == abs(by_hand(seed, points[best])[0] - 0.9)
    assert found["training_runs"] == 8
    trials = pd.read_csv(done / "trials.csv")
    assert trials.groupby(["method", "seed"]).size().to_dict() == {
        ("grid", 0): 8,
        ("grid", 1): 8,
        ("tpe", 0): 5,
        ("tpe", 1): 5,
        ("random", 0): 4,
        ("random", 1): 4,
    }
    row = trials[(trials["method"] == "grid") & (trials["seed"] == 1)].iloc[5]
    assert row[["a", "b", "c"]].tolist() == [1.0, 0.0, 1.0]
    assert row["selection"] == pytest.approx(1.5 * abs(by_hand(1, [1.0, 0.0, 1.0])[0] - 1.0), rel=1e-12)


def test_a_pool_gives_the_same_files_to_the_bit(done: Path, tmp_path: Path) -> None:
    compare(pulled, weights(), METHODS, out=tmp_path / "run", seeds=2, on=2, progress=False)
    assert results(tmp_path / "run") == results(done)
    for name in ("weights.csv", "weights_history.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (done / name).read_bytes()


def counted(run: Run) -> Scores:
    """Leaves a line for every training, and one for every look at the test data."""
    scores = pulled(run)
    log = Path(os.environ["COMPARE_LOG"])
    with log.open("a") as file:
        file.write(f"train {run.method} {run.seed}\n")

    def test() -> float:
        with log.open("a") as file:
            file.write(f"test {run.method} {run.seed}\n")
        return 1.0

    return Scores(float(dict(scores.selection)["near"]), test)


def test_the_test_data_are_looked_at_once_and_nothing_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPARE_LOG", str(tmp_path / "log"))
    for _ in range(2):
        compare(counted, weights(), [*METHODS[1:4], LEARNED], out=tmp_path / "run", seeds=2, on=1, progress=False)
    lines = (tmp_path / "log").read_text().splitlines()
    tests = [line for line in lines if line.startswith("test")]
    assert sorted(tests) == sorted(f"test {name} {seed}" for name in NAMES for seed in (0, 1))
    assert len(lines) - len(tests) == 2 * (1 + 1 + 1 + 8 + 1)


NAMES = ("learned", "learned-frozen", "lambda=1", "grid")


def test_seeds_and_methods_may_be_added_later(done: Path, tmp_path: Path) -> None:
    compare(pulled, weights(), [LEARNED], out=tmp_path, seeds=1, on=1, progress=False)
    compare(pulled, weights(), METHODS, out=tmp_path, seeds=2, on=1, progress=False)
    assert results(tmp_path) == results(done)


def accurate(run: Run) -> Scores:
    """The higher, the better: only λ of "a" is of use."""
    lambda_ = run.weights().detach()
    return Scores(float(lambda_[0] - lambda_[1]), test=float(lambda_[0]))


def test_a_metric_of_which_more_is_better(tmp_path: Path) -> None:
    found = compare(
        accurate,
        weights(),
        [Constant(0.3), grid((0.1, 0.9))],
        out=tmp_path,
        seeds=1,
        metric=Metric("accuracy", higher_is_better=True),
        on=1,
        progress=False,
    )
    one = method(results(tmp_path), "grid")
    assert one["lambda"]["per_seed"] == [pytest.approx([0.9, 0.1, 0.1])]
    assert one["selection"]["accuracy"] == [pytest.approx(0.8)]
    assert found.table["method"].tolist() == ["grid", "lambda=0.3"]
    assert pd.read_csv(tmp_path / "trials.csv")["selection"].max() == pytest.approx(0.8)


def diverging(run: Run) -> Scores:
    if run.method == "lambda=0.1" and run.seed == 1:
        raise DivergedError("the loss is inf in epoch 2")
    lambda_ = float(run.weights()[0].detach())
    return Scores(math.nan if lambda_ > 0.5 else lambda_, test=lambda_)


def test_a_training_that_diverges_is_named_and_in_no_number(tmp_path: Path) -> None:
    methods = [Constant(0.1), Constant(0.2), best_constant((0.3, 0.4, 0.6))]
    compare(diverging, weights(), methods, out=tmp_path, seeds=2, on=1, progress=False)
    found = results(tmp_path)
    assert method(found, "lambda=0.1")["failures"] == ["seed 1: the loss is inf in epoch 2"]
    assert method(found, "lambda=0.1")["seeds"] == [0]
    assert method(found, "uniform")["lambda"]["per_seed"] == [pytest.approx([0.3] * 3)] * 2
    assert pd.read_csv(tmp_path / "trials.csv")["selection"].isna().tolist() == [False, False, True] * 2


def test_a_grid_on_a_budget_has_no_point_twice(tmp_path: Path) -> None:
    on_budget = LossWeights(["a", "b", "c"], constraint=Budget(1.0))
    compare(accurate, on_budget, [grid((0.0, 0.5, 1.0))], out=tmp_path, seeds=1, on=1, progress=False)
    found = method(results(tmp_path), "grid")
    assert found["training_runs"] == 19
    shares = pd.read_csv(tmp_path / "trials.csv")[["a", "b", "c"]]
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * 19)
    assert len(shares.round(6).drop_duplicates()) == 19
    assert found["lambda"]["per_seed"] == [pytest.approx([0.0, 1.0, 0.0])]


def test_the_default_methods_fit_the_weights() -> None:
    assert [each.name for each in default_methods(weights())] == ["learned", "equal", "uniform", "grid", "tpe"]
    on_budget = LossWeights(["a", "b"], constraint=Budget(1.0))
    _, equal, *rest = default_methods(on_budget)
    assert isinstance(equal, Constant)
    assert equal.value == pytest.approx([0.5, 0.5])
    assert [each.name for each in rest] == ["grid", "tpe"]
    assert [each.name for each in default_methods(LossWeights(list("abcdefgh")))] == [
        "learned",
        "equal",
        "uniform",
        "tpe",
    ]
    assert [each.name for each in default_methods(nn.Linear(1, 1))] == ["learned", "lambda=1"]


@dataclass(frozen=True)
class Halves:
    """A method from outside: λ = 1/2, twice the cost."""

    name: str = "halves"
    title: str = "one half for all"
    group: str = "own"

    def trainings(self, setting: Setting) -> int:
        return 1

    def plan(self, setting: Setting, seed: int) -> OneTraining:
        return OneTraining(self.name, seed, [0.5, 0.5, 0.5])


def test_a_method_of_ones_own(tmp_path: Path) -> None:
    found = compare(accurate, weights(), [Halves()], out=tmp_path, seeds=1, on=1, progress=False)
    answer = found.answers["halves", 0]
    assert isinstance(answer, Answer)
    assert answer.trained.test == {"loss": 0.5}
    assert method(results(tmp_path), "halves")["group"] == "own"


@pytest.mark.parametrize(
    "learned",
    [
        Learned(hypergradient=Neumann(terms=3), outer_every="epoch", outer_lr=0.05, warm_up=0.0),
        Learned(weights=LossWeights(["a", "b", "c"], constraint=Budget(1.0)), outer_every=1, warm_up=0.5),
        Learned(hypergradient=FiniteDifference(), outer_every=2, learner={"clip": 0.1}, warm_up=0.0),
    ],
    ids=["Neumann", "another constraint", "difference"],
)
def test_any_way_of_learning(tmp_path: Path, learned: Learned) -> None:
    found = compare(pulled, weights(), [learned], out=tmp_path, seeds=1, on=1, progress=False)
    one = found.answers["learned", 0].trained
    start = learned.start(weights())().detach().tolist()
    assert one.trajectory[0] == pytest.approx(start)
    assert one.trajectory[-1] == one.lambda_ != start
    steps = {"epoch": 4 * 5, 1: 10, 2: 10}[learned.outer_every]
    assert len(one.outer_steps) == steps
    assert one.lambda_[0] > one.lambda_[1], "what pulls to 1 is wanted more than what pulls to −1"


def test_lambda_of_any_shape(tmp_path: Path) -> None:
    several = WeightsDict({"first": LossWeights(["a"]), "rest": LossWeights(["b", "c"])})

    def training(run: Run) -> Scores:
        lambda_ = run.weights()
        return Scores(float(lambda_["first"].detach()[0]), test=float(lambda_["rest"].detach().sum()))

    methods = [Constant({"rest.b": 0.25}, name="quarter"), Constant(0.5)]
    compare(training, several, methods, out=tmp_path, seeds=1, on=1, progress=False)
    found = results(tmp_path)
    assert method(found, "quarter")["test"] == {"loss": [1.25]}
    assert method(found, "lambda=0.5")["lambda"] == {
        "labels": ["first.a", "rest.b", "rest.c"],
        "per_seed": [[0.5, 0.5, 0.5]],
    }
    with pytest.raises(TypeError, match=r"searches need weights to be LossWeights or TransferRatios"):
        compare(training, several, [grid((0.0, 1.0))], out=tmp_path / "grid", seeds=1, on=1, progress=False)


def test_the_best_of_others_pays_for_all(tmp_path: Path) -> None:
    several = [Constant(0.3), Constant(0.1), Constant(0.2)]
    best = BestOf(("lambda=0.3", "lambda=0.1", "lambda=0.2"), "best")

    def training(run: Run) -> Scores:
        lambda_ = float(run.weights()[0].detach())
        return Scores(lambda_, test=1 - lambda_)

    for _ in range(2):  # the second time all answers are read from files
        found = compare(training, weights(), [best, *several], out=tmp_path, seeds=2, on=1, progress=False)
        one = method(results(tmp_path), "best")
        assert one["test"]["loss"] == pytest.approx([0.9, 0.9])
        assert (one["training_runs"], one["note"]) == (3, "lambda=0.1, lambda=0.1")
        assert found.answers["best", 0].seconds == pytest.approx(
            sum(found.answers[each.name, 0].seconds for each in several)
        )


def test_a_training_may_last_as_long_as_another(tmp_path: Path) -> None:
    def training(run: Run) -> Trained | Scores:
        if run.method == "first":
            return Trained({"loss": 1.0}, {"loss": 1.0}, seconds=12.5)
        return Scores(run.options["seconds"], test=run.options["seconds"])

    methods = [Single("second", as_long_as="first"), Single("first")]
    compare(training, weights(), methods, out=tmp_path, seeds=1, on=1, progress=False)
    assert method(results(tmp_path), "second")["test"] == {"loss": [12.5]}
    with pytest.raises(ValueError, match=r"\['second'\] need the result of a method that is not among them"):
        compare(training, weights(), methods[:1], out=tmp_path / "alone", seeds=1, on=1, progress=False)


def test_a_pruner_ends_hopeless_trainings_and_epochs_a_search(tmp_path: Path) -> None:
    def training(run: Run) -> Scores:
        lambda_ = float(run.weights()[0].detach())
        for epoch in range(1, 5):
            run.report(lambda_, epoch)
        return Scores(lambda_, test=lambda_)

    pruned = replace(tpe(8, shared=True), pruner=MedianPruner(n_startup_trials=2, n_warmup_steps=1))
    by_epochs = replace(random(1, shared=True, name="epochs"), how=Proposals("random", None, 1, epochs=10))
    found = compare(training, weights(), [pruned, by_epochs], out=tmp_path, seeds=1, on=1, progress=False)
    answer = found.answers["tpe", 0]
    assert answer.training_runs == 8
    assert len(answer.trials) < 8
    assert answer.epochs < 8 * 4
    assert found.answers["epochs", 0].training_runs == 3


def test_after_an_error_the_same_process_can_go_on(done: Path, tmp_path: Path) -> None:
    def broken(run: Run) -> Scores:
        if run.method == "grid" and run.seed == 1:
            raise RuntimeError("a mistake of the user's")
        return pulled(run)

    with pytest.raises(RuntimeError, match="a mistake of the user's"):
        compare(broken, weights(), METHODS, out=tmp_path, seeds=2, on=1, progress=False)
    compare(pulled, weights(), METHODS, out=tmp_path, seeds=2, on=1, progress=False)
    assert results(tmp_path) == results(done)


def test_progress_ends_at_the_number_of_trainings_and_a_database_holds_many_runs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        seen: list[tuple[int, int]] = []
        compare(
            accurate,
            weights(),
            [Constant(1.0), grid((0.0, 1.0))],
            out=tmp_path / name,
            seeds=2,
            on=1,
            storage=f"sqlite:///{tmp_path}/studies.db",
            progress=lambda done, total, seen=seen: seen.append((done, total)),
        )
        assert seen == [(done, 20) for done in range(21)]
    assert sorted(optuna.get_all_study_names(f"sqlite:///{tmp_path}/studies.db")) == [
        "one-grid-seed0",
        "one-grid-seed1",
        "two-grid-seed0",
        "two-grid-seed1",
    ]


def test_transfer_ratios_are_recorded_by_target_and_source(tmp_path: Path) -> None:
    ratios = TransferRatios(["x", "y"], init=0.25)

    def training(run: Run) -> Scores:
        return Scores(float(run.weights()[0, 1]), test=0.0)

    compare(training, ratios, [Constant(0.5), grid((0.1, 0.7), symmetric=True)], out=tmp_path, seeds=1, on=1)
    found = results(tmp_path)
    assert method(found, "lambda=0.5")["lambda"] == {
        "targets": ["x", "y"],
        "sources": ["x", "y"],
        "per_seed": [[[1.0, 0.5], [0.5, 1.0]]],
    }
    assert found["search"]["parameters"] == ["x|y"]
    table = pd.read_csv(tmp_path / "ratios.csv")
    assert table[table["method"] == "grid"]["lambda"].round(6).tolist() == [1.0, 0.1, 0.1, 1.0]


DRIVER = """
import os, sys
sys.path.insert(0, {here!r})
import test_compare as t
def training(run):
    done = len(os.listdir(os.environ["COMPARE_DONE"]))
    if done == int(os.environ["COMPARE_KILL"]):
        os.kill(os.getpid(), 9)
    scores = t.pulled(run)
    open(os.path.join(os.environ["COMPARE_DONE"], str(done)), "w").close()
    return scores
t.compare(training, t.weights(), t.METHODS, out=sys.argv[1], seeds=2, on=1, progress=False)
"""


def test_a_comparison_killed_three_times_goes_on_and_ends_with_the_same_files(done: Path, tmp_path: Path) -> None:
    marks = tmp_path / "done"
    marks.mkdir()
    command = [sys.executable, "-c", DRIVER.format(here=str(Path(__file__).parent)), str(tmp_path / "run")]
    for after in (1, 9, 20):
        environment = os.environ | {"COMPARE_DONE": str(marks), "COMPARE_KILL": str(after)}
        killed = subprocess.run(command, env=environment, check=False, capture_output=True)
        assert killed.returncode == -signal.SIGKILL
        assert len(list(marks.iterdir())) == after
    compare(pulled, weights(), METHODS, out=tmp_path / "run", seeds=2, on=1, progress=False)
    assert results(tmp_path / "run") == results(done)


def test_a_damaged_file_is_named(done: Path, tmp_path: Path) -> None:
    compare(pulled, weights(), [Constant(1.0)], out=tmp_path, seeds=1, on=1, progress=False)
    path = tmp_path / "jobs" / "lambda=1-seed0-0.json"
    path.write_text(path.read_text().replace('"near": 0.', '"near": 1.'))
    with pytest.raises(RunError, match=r"lambda=1-seed0-0.json is damaged"):
        compare(pulled, weights(), [Constant(1.0)], out=tmp_path, seeds=1, on=1, progress=False)


def test_another_question_is_refused(tmp_path: Path) -> None:
    compare(accurate, weights(), [LEARNED_FAST], out=tmp_path, seeds=1, on=1, about={"lr": 0.1}, progress=False)
    with pytest.raises(RunError, match=r"about.lr was 0.1, now 0.2"):
        compare(accurate, weights(), [LEARNED_FAST], out=tmp_path, seeds=1, on=1, about={"lr": 0.2}, progress=False)
    with pytest.raises(RunError, match=r"method.outer_lr was 0.05, now 0.1"):
        compare(
            accurate, weights(), [Learned(outer_lr=0.1)], out=tmp_path, seeds=1, on=1, about={"lr": 0.1}, progress=False
        )
    with pytest.raises(RunError, match="holds a run already"):
        compare(
            accurate, weights(), [LEARNED_FAST], out=tmp_path, on=1, about={"lr": 0.1}, resume=False, progress=False
        )


LEARNED_FAST = Learned(outer_lr=0.05)


def wrong(run: Run) -> Any:
    return 0.5


@pytest.mark.parametrize(
    ("training", "methods", "options", "error", "said"),
    [
        (wrong, [Constant(1.0)], {}, TypeError, r"must return Scores\(selection, test\); it returned float"),
        (pulled, [Constant(1.0), Constant(1.0)], {}, ValueError, r"got \['lambda=1'\] twice"),
        (pulled, [], {}, ValueError, "got none"),
        (pulled, [Constant(1.0, name="a/b")], {}, ValueError, "as they name files; got"),
        (pulled, [Frozen("budget")], {}, ValueError, "budget-frozen needs 'budget' among the methods"),
        (pulled, [Constant(1.0)], {"seeds": []}, ValueError, "at least one"),
        (pulled, [Constant({"z": 1.0}, name="z")], {}, ValueError, r"\['z'\] are not labels of λ"),
        (pulled, [Constant([1.0], name="z")], {}, ValueError, r"each of the 3 λ .*; got 1"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    tmp_path: Path, training: Any, methods: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        compare(training, weights(), methods, out=tmp_path / "run", on=1, progress=False, **options)


def test_two_drivers_in_one_folder(tmp_path: Path) -> None:
    def training(run: Run) -> Scores:
        with pytest.raises(RunError, match="another process is working"):
            compare(accurate, weights(), [Constant(1.0)], out=tmp_path, seeds=1, on=1, progress=False)
        return accurate(run)

    compare(training, weights(), [Constant(1.0)], out=tmp_path, seeds=1, on=1, progress=False)


def test_a_job_has_a_name_for_its_file() -> None:
    assert Job("tpe", 3, 12, (0.5,), test=False).name == "tpe-seed3-12"

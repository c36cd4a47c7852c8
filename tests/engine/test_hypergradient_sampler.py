"""HypergradientSampler: torch's Adam to the last digits, whatever the trials went through; and publishable alone."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from bilevel_hpo import BilevelLearner, ConjugateGradient, LossWeights, Unrolled
from bilevel_hpo.search import HypergradientSampler, hypergradient_sampler

optuna.logging.set_verbosity(optuna.logging.ERROR)
FOLDER = Path(hypergradient_sampler.__file__).parent
SPACE = {
    "a": FloatDistribution(-1.0, 3.0),
    "b": FloatDistribution(0.0, 0.6),  # the optimum lies outside: projection
    "c": FloatDistribution(1e-3, 1e2, log=True),
    "d": FloatDistribution(0.5, 2.0, log=True),  # outside as well
}
OPTIMUM = {"a": 1.5, "b": 0.9, "c": 20.0, "d": 0.1}
CURVATURE = {"a": 3.0, "b": 0.5, "c": 0.01, "d": 2.0}


def slope(params, sign=1.0):
    return {name: sign * CURVATURE[name] * (value - OPTIMUM[name]) for name, value in params.items()}


def bowl(trial, sign=1.0):
    params = {name: trial.suggest_float(name, d.low, d.high, log=d.log) for name, d in SPACE.items()}
    trial.set_user_attr("hypergradient", slope(params, sign))
    return sign * sum(0.5 * CURVATURE[name] * (value - OPTIMUM[name]) ** 2 for name, value in params.items())


def new_study(sampler=None, **options):
    return optuna.create_study(sampler=sampler or HypergradientSampler(), **options)


def path_of(study):
    return [trial.params for trial in study.trials]


class TorchAdam:
    """torch.optim.Adam on u = λ or ln λ, clamped after each step: the oracle."""

    def __init__(self, start, space=SPACE, **options):
        self.space = space
        self.u = {
            name: torch.tensor(math.log(start[name]) if d.log else start[name], dtype=torch.float64, requires_grad=True)
            for name, d in space.items()
        }
        self.adam = torch.optim.Adam(self.u.values(), **options)

    @torch.no_grad()
    def value(self):
        return {name: math.exp(u) if self.space[name].log else u.item() for name, u in self.u.items()}

    @torch.no_grad()
    def step(self, gradient):
        """`gradient` in λ, at the present point or elsewhere: {name: (λ, dL/dλ)}."""
        for name, u in self.u.items():
            if name in gradient:
                at, g = gradient[name]
                u.grad = torch.tensor(at * g if self.space[name].log else g, dtype=torch.float64)
            else:
                u.grad = None
        self.adam.step()
        for name, u in self.u.items():
            low, high = self.space[name].low, self.space[name].high
            u.clamp_(*((math.log(low), math.log(high)) if self.space[name].log else (low, high)))

    def move(self, params):
        """Step from `params` by their own slope."""
        self.step({name: (params[name], g) for name, g in slope(params).items()})


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_proposals_are_those_of_torch_adam(direction, sign):
    options = {"lr": 0.13, "betas": (0.8, 0.97), "eps": 1e-4}
    study = new_study(HypergradientSampler(**options), direction=direction)
    study.optimize(lambda trial: bowl(trial, sign), n_trials=60)
    oracle = TorchAdam({"a": 1.0, "b": 0.3, "c": math.sqrt(0.1), "d": 1.0}, **options)
    for params in path_of(study):
        assert params == pytest.approx(oracle.value(), rel=1e-12, abs=1e-12)
        oracle.move(oracle.value())
    best = study.best_params
    assert best["b"] == 0.6
    assert best["d"] == 0.5
    assert best["a"] == pytest.approx(1.5, abs=0.01)
    assert best["c"] == pytest.approx(20.0, rel=0.05)


def test_init_and_enqueued_points_are_starts():
    study = new_study(HypergradientSampler(init={"a": 2.5, "c": 7.3}))
    study.optimize(bowl, n_trials=1)
    assert study.trials[0].params == {"a": 2.5, "b": 0.3, "c": 7.3, "d": pytest.approx(1.0)}
    study.enqueue_trial({"a": 0.25, "b": 0.5, "c": 1.0, "d": 1.5})
    study.optimize(bowl, n_trials=2)
    oracle = TorchAdam(study.trials[0].params, lr=0.1)
    oracle.move(oracle.value())
    with torch.no_grad():
        for name, u in oracle.u.items():
            u.fill_(math.log(study.trials[1].params[name]) if SPACE[name].log else study.trials[1].params[name])
    oracle.move(oracle.value())
    assert study.trials[2].params == pytest.approx(oracle.value(), rel=1e-12)


def test_a_resumed_study_goes_on_to_the_bit(tmp_path):
    def mixed(trial):
        trial.suggest_categorical("kind", ["x", "y", "z"])
        trial.suggest_int("width", 1, 1000, log=True)
        if trial.number == 9 and interrupt:
            raise KeyboardInterrupt
        trial.suggest_float("rounded", 0, 10, step=0.5)
        params = {name: trial.suggest_float(name, d.low, d.high, log=d.log) for name, d in SPACE.items()}
        trial.set_user_attr("hypergradient", slope(params))
        return 0.0

    def storage():
        return JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))

    interrupt = False
    whole = new_study(HypergradientSampler(seed=3))
    whole.optimize(mixed, n_trials=15)
    learned = [{name: trial.params[name] for name in SPACE} for trial in whole.trials]

    new_study(HypergradientSampler(seed=3), storage=storage(), study_name="s").optimize(mixed, n_trials=4)
    interrupt = True
    half = new_study(HypergradientSampler(seed=3), storage=storage(), study_name="s", load_if_exists=True)
    with pytest.raises(KeyboardInterrupt):
        half.optimize(mixed, n_trials=11)
    interrupt = False
    rest = new_study(HypergradientSampler(seed=3), storage=storage(), study_name="s", load_if_exists=True)
    rest.optimize(mixed, n_trials=6)
    complete = [trial for trial in rest.trials if trial.state is TrialState.COMPLETE]
    assert [{name: trial.params[name] for name in SPACE} for trial in complete] == learned
    assert [trial.params for trial in rest.trials[:9]] == path_of(whole)[:9]  # the drawn ones are by number
    assert [trial.params for trial in rest.trials[10:]] != path_of(whole)[9:]
    assert len({trial.params["width"] for trial in whole.trials}) > 10


def test_running_trials_are_taken_to_repeat_the_last_hypergradient():
    study = new_study(HypergradientSampler(lr=0.05))
    study.optimize(bowl, n_trials=3)
    last = study.trials[-1].params
    asked = [study.ask(SPACE) for _ in range(4)]
    oracle = TorchAdam(study.trials[0].params, lr=0.05)
    for params in path_of(study)[:3]:
        oracle.move(params)
    for trial in asked:
        assert trial.params == pytest.approx(oracle.value(), rel=1e-12, abs=1e-12)
        oracle.move(last)


def test_the_order_in_which_workers_finish_does_not_matter():
    def run(order):
        study = new_study(HypergradientSampler(lr=0.05, seed=0))
        asked = [study.ask(SPACE) for _ in range(3)]
        for i in order:
            asked[i].set_user_attr("hypergradient", slope(asked[i].params))
            study.tell(asked[i], 0.0)
        return [trial.params for trial in asked], study.ask(SPACE).params

    starts, proposal = run([0, 1, 2])
    assert (starts, proposal) == run([2, 0, 1])
    assert starts[0] == {"a": 1.0, "b": 0.3, "c": pytest.approx(math.sqrt(0.1)), "d": pytest.approx(1.0)}
    for other in starts[1:]:
        assert [abs(other[name] - starts[0][name]) for name in "ab"] == pytest.approx([0.05, 0.05])
        assert [abs(math.log(other[name] / starts[0][name])) for name in "cd"] == pytest.approx([0.05, 0.05])
    assert starts[1] != starts[2]


def test_four_workers_reach_the_optimum():
    study = new_study(HypergradientSampler(lr=0.05))
    queue = [study.ask(SPACE) for _ in range(4)]
    for _ in range(150):
        trial = queue.pop(0)
        trial.set_user_attr("hypergradient", slope(trial.params))
        study.tell(trial, sum(CURVATURE[n] * (v - OPTIMUM[n]) ** 2 for n, v in trial.params.items()))
        queue.append(study.ask(SPACE))
    assert study.best_params == pytest.approx({"a": 1.5, "b": 0.6, "c": 20.0, "d": 0.5}, rel=0.01)


def one_step(study):
    """Signed length in `a` of the step that would be next."""
    trial = study.ask({"a": SPACE["a"]})
    study.tell(trial, state=TrialState.FAIL)
    return trial.params["a"] - 1.0


def first_trial_done(**attributes):
    study = new_study(HypergradientSampler(lr=0.4))
    study.add_trial(create_trial(params={"a": 1.0}, distributions={"a": SPACE["a"]}, value=0.0, user_attrs=attributes))
    return study


def test_failed_and_foreign_trials_are_passed_over_pruned_ones_halve_the_step():
    study = first_trial_done(hypergradient={"a": -2.0})
    step = one_step(study)
    assert step == pytest.approx(0.4)
    assert one_step(study) == step
    study.add_trial(create_trial(params={"a": 3.0}, distributions={"a": SPACE["a"]}, value=-1.0))
    assert one_step(study) == step
    for halves in (1, 2):
        study.add_trial(create_trial(params={"a": 1.2}, distributions={"a": SPACE["a"]}, state=TrialState.PRUNED))
        assert one_step(study) == pytest.approx(step / 2**halves)
    good = {"hypergradient": {"a": -2.0}}
    study.add_trial(create_trial(params={"a": 1.0}, distributions={"a": SPACE["a"]}, value=0.0, user_attrs=good))
    assert one_step(study) == pytest.approx(step)


@pytest.mark.parametrize(
    ("reported", "message"),
    [
        ({}, r"trial 1: user attribute 'hypergradient'\['a'\] is missing; its names must be \['a'\]"),
        ({"a": 1.0, "z": 2.0}, r"trial 1: .*\['z'\] is there, but is no learned parameter"),
        ({"a": None}, r"trial 1: .*\['a'\] must be a number; got None"),
        ([1.0], r"trial 1: .* must be a mapping of names to numbers; got \[1.0\]"),
    ],
)
def test_a_malformed_hypergradient_is_named_when_the_trial_ends_and_does_not_lock_the_study(reported, message):
    study = first_trial_done(hypergradient={"a": -2.0})
    trial = study.ask({"a": SPACE["a"]})
    trial.set_user_attr("hypergradient", reported)
    with pytest.raises(ValueError, match=message):
        study.tell(trial, 0.0)
    assert study.trials[-1].state is TrialState.COMPLETE
    with pytest.warns(UserWarning, match=message):
        assert one_step(study) == pytest.approx(0.2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_hypergradient_is_named_and_halves_the_step(value):
    study = first_trial_done(hypergradient={"a": -2.0})
    trial = study.ask({"a": SPACE["a"]})
    trial.set_user_attr("hypergradient", {"a": value})
    message = rf"trial 1: .*\['a'\] must be finite; got {value}"
    with pytest.warns(UserWarning, match=message):
        study.tell(trial, 0.0)
    with pytest.warns(UserWarning, match=message):
        assert one_step(study) == pytest.approx(0.2)


def test_a_training_that_diverged_is_not_repeated():
    study = first_trial_done(hypergradient={"a": -2.0})
    trial = study.ask({"a": SPACE["a"]})
    trial.set_user_attr("hypergradient", {"a": math.nan})
    with pytest.warns(UserWarning, match="nan"):  # Optuna's: it fails the trial
        study.tell(trial, math.nan, skip_if_finished=True)
    assert study.trials[-1].state is TrialState.FAIL
    assert one_step(study) == pytest.approx(0.2)


def test_a_forgotten_hypergradient_is_warned_of():
    study = new_study()
    with pytest.warns(UserWarning, match="trial 0 is complete, but has no user attribute 'hypergradient'"):
        study.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=1)


def test_an_unusable_first_trial_is_not_repeated():
    study = new_study(HypergradientSampler(lr=0.25))
    study.add_trial(create_trial(params={"a": 1.0}, distributions={"a": SPACE["a"]}, state=TrialState.PRUNED))
    assert abs(one_step(study)) == 0.25


def test_conditional_parameters_have_moments_of_their_own():
    study = new_study(HypergradientSampler(lr=0.1))
    g = {"a": [1.0, -3.0, 2.0, 0.5], "b": [-1.0, 4.0]}
    seen = {"a": [], "b": []}
    for number in range(4):
        trial = study.ask()
        names = "ab" if number in {0, 3} else "a"
        for name in names:
            seen[name].append(trial.suggest_float(name, SPACE[name].low, SPACE[name].high))
        trial.set_user_attr("hypergradient", {name: g[name][len(seen[name]) - 1] for name in names})
        study.tell(trial, 0.0)
    for name in "ab":
        oracle = TorchAdam({name: seen[name][0]}, {name: SPACE[name]}, lr=0.1)
        for value, gradient in zip(seen[name], g[name], strict=True):
            assert value == pytest.approx(oracle.value()[name], rel=1e-12)
            oracle.step({name: (value, gradient)})


def test_bounds_that_change_are_the_new_bounds():
    study = first_trial_done(hypergradient={"a": -2.0})
    for low, high, wanted in [(-1.0, 1.1, 1.1), (2.0, 3.0, 2.0), (-9.0, 9.0, 1.4)]:
        trial = study.ask()
        assert trial.suggest_float("a", low, high) == pytest.approx(wanted)
        study.tell(trial, state=TrialState.FAIL)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_other_parameters_go_to_the_independent_sampler():
    fixed = {"a": 0.125, "n": 7, "kind": "y", "step": 2.5}
    sampler = HypergradientSampler(
        names=["b"], independent_sampler=optuna.samplers.PartialFixedSampler(fixed, optuna.samplers.RandomSampler())
    )
    study = new_study(sampler)
    others = {
        "a": SPACE["a"],
        "n": IntDistribution(0, 9),
        "kind": CategoricalDistribution(["x", "y"]),
        "step": FloatDistribution(0, 5, step=0.5),
    }
    for wanted in (0.3, 0.4):
        trial = study.ask({"b": SPACE["b"], **others})
        assert trial.params == {"b": pytest.approx(wanted), **fixed}
        trial.set_user_attr("hypergradient", {"b": -1.0})
        study.tell(trial, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, "lr must be positive; got 0.0"),
        ({"lr": math.nan}, "lr must be positive; got nan"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\); got \(0.9, 1.0\)"),
        ({"betas": (0.9,)}, r"betas must be two numbers .*; got \(0.9,\)"),
        ({"eps": 0.0}, "eps must be positive; got 0.0"),
        ({"names": "abc"}, "names must be a list of names; got 'abc'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HypergradientSampler(**arguments)


@pytest.mark.parametrize("start", [4.0, math.nan])
def test_an_init_outside_of_the_bounds_is_refused(start):
    with pytest.raises(ValueError, match=r"init\['a'\] is .*, outside of \[-1.0, 3.0\]"):
        new_study(HypergradientSampler(init={"a": start})).ask(SPACE)


def test_a_name_that_no_parameter_has_is_warned_of():
    with pytest.warns(UserWarning, match=r"init or names has \['A', 'x'\], which trial 0 did not suggest"):
        new_study(HypergradientSampler(init={"A": 1.0}, names=[*SPACE, "x"])).optimize(bowl, n_trials=1)


def test_several_objectives_are_refused():
    study = new_study(directions=["minimize", "minimize"])
    with pytest.raises(ValueError, match="the study has 2 objectives"):
        study.ask(SPACE)


@pytest.mark.parametrize("estimator", [ConjugateGradient(iterations=3, damping=0.0), Unrolled(steps=40)])
def test_a_bilevel_problem_reaches_its_closed_form_optimum(estimator):
    """L_train = ½Σ(θ−a)² + ½Σλ(θ−b)², so θ* = (a + λb)/(1 + λ); L_val = ½Σ(θ−c)², so λ* = (c−a)/(b−c)."""
    a, b, c = torch.tensor([[0.0, 1.0, -1.0], [1.0, -1.0, 0.5], [0.2, 0.5, 0.0]], dtype=torch.float64)
    names = ["x", "y", "z"]
    target = dict(zip(names, ((c - a) / (b - c)).tolist(), strict=True))

    def objective(trial):
        start = [trial.suggest_float(name, 0.01, 10.0, log=True) for name in names]
        model = torch.nn.Module()
        model.theta = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        weights = LossWeights(names, torch.tensor(start, dtype=torch.float64))
        learner = BilevelLearner(
            model,
            torch.optim.SGD(model.parameters(), lr=0.4),
            weights,
            train_loss=lambda m, w, _: 0.5 * ((m.theta - a).square() + w * (m.theta - b).square()).sum(),
            val_loss=lambda m, w, _: 0.5 * (m.theta - c).square().sum(),
            hypergradient=estimator,
        )
        batches = [None] * 40 if isinstance(estimator, Unrolled) else None
        for _ in range(40):
            learner.inner_step(None)
        g = learner.hypergradient(batches, None)
        trial.set_user_attr("hypergradient", dict(zip(names, g.tolist(), strict=True)))
        return 0.5 * (model.theta - c).square().sum().item()

    study = new_study(HypergradientSampler(lr=0.2))
    study.optimize(objective, n_trials=60)
    assert study.best_params == pytest.approx(target, rel=0.02)
    assert study.best_value < 1e-5 < study.trials[0].value


def test_optunas_figures_draw_the_study():
    study = new_study()
    study.optimize(bowl, n_trials=8)
    figures = optuna.visualization
    for draw in (figures.plot_optimization_history, figures.plot_slice, figures.plot_parallel_coordinate):
        assert draw(study).data
    assert figures.plot_contour(study, params=["a", "c"]).data


@pytest.fixture
def alone(tmp_path):
    """The folder in a registry of its own, and a stand-in for the package `optunahub`, which is not installed here."""
    package = tmp_path / "package" / "samplers" / "hypergradient_sampler"
    shutil.copytree(FOLDER, package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "optunahub.py").write_text(
        "import importlib.util, os\n"
        "def load_local_module(package, *, registry_root):\n"
        "    path = os.path.join(registry_root, package, '__init__.py')\n"
        "    spec = importlib.util.spec_from_file_location('loaded', path)\n"
        "    module = importlib.util.module_from_spec(spec)\n"
        "    spec.loader.exec_module(module)\n"
        "    return module\n"
        "def load_module(package):\n"
        f"    return load_local_module(package, registry_root={str(tmp_path / 'package')!r})\n"
    )
    return package


def run_alone(alone, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(alone.parents[2]), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=alone.parents[2], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_folder_works_alone(alone):
    """The README's snippet, with nothing of ours and no torch imported by the sampler."""
    readme = (alone / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    tail = "import json, sys\nprint(json.dumps([m for m in sys.modules if m in {'torch', 'bilevel_hpo'}]))\n"
    lines = run_alone(alone, "-c", snippet + tail).splitlines()
    assert json.loads(lines[-1]) == []
    best = eval(lines[-2])
    assert best["x"] == pytest.approx(1.0, abs=0.1)
    assert best["y"] == pytest.approx(2.0, rel=0.1)


def test_the_example_learns(alone):
    value, _, params = run_alone(alone, str(alone / "example.py")).partition(" ")
    decay = eval(params)
    assert float(value) < 1.02
    assert decay["noise"] > 1.0
    assert decay["signal"] < 0.1


def test_the_example_reports_the_true_hypergradient(monkeypatch):
    monkeypatch.setitem(sys.modules, "optunahub", optuna)
    source = (FOLDER / "example.py").read_text(encoding="utf-8")
    names = {"__name__": "example"}
    exec(compile(source, "example.py", "exec"), names)

    def evaluate(**params):
        trial = optuna.trial.FixedTrial(params)
        return names["objective"](trial), trial.user_attrs["hypergradient"]

    point = {"signal": 0.3, "noise": 0.7}
    for name in point:
        up, down = (evaluate(**{**point, name: point[name] + h})[0] for h in (1e-6, -1e-6))
        assert evaluate(**point)[1][name] == pytest.approx((up - down) / 2e-6, rel=1e-6)


def test_the_readme_is_what_the_hub_wants():
    """Its header_confirm.py: six keys, none empty; a package of samplers has the tag; no HTML."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    _, header, body = readme.split("---\n", 2)
    keys = dict(line.split(": ", 1) for line in header.strip().splitlines())
    assert list(keys) == ["author", "title", "description", "tags", "optuna_versions", "license"]
    assert all(keys.values())
    assert "sampler" in keys["tags"].strip("[]").split(", ")
    assert keys["license"] == "MIT License"
    assert not re.search(r"<[a-zA-Z/!]", body)
    assert "MIT License" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


def test_the_code_passes_the_hubs_formatter_and_linter(tmp_path):
    settings = tmp_path / "ruff.toml"
    settings.write_text(
        'line-length = 99\nlint.select = ["E", "F", "I"]\nlint.isort.known-third-party = ["optuna"]\n'
        "lint.isort.lines-after-imports = 2\nlint.isort.force-single-line = true\n"
        "lint.isort.force-sort-within-sections = true\nlint.isort.order-by-type = false\n"
    )
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", str(settings), str(FOLDER)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_many_parameters_are_proposed_at_once():
    names = [f"s{i}" for i in range(300)]
    rng = np.random.default_rng(0)
    study = new_study()
    for _ in range(3):
        trial = study.ask()
        for name in names:
            trial.suggest_float(name, 0.0, 1.0)
        trial.set_user_attr("hypergradient", dict(zip(names, rng.normal(size=300).tolist(), strict=True)))
        study.tell(trial, 0.0)
    frozen = study._storage.get_trial(study.ask()._trial_id)
    space = study.sampler.infer_relative_search_space(study, frozen)
    assert list(space) == names
    proposal = study.sampler.sample_relative(study, frozen, space)
    for name in names[::50]:
        assert proposal[name] == study.sampler.sample_independent(study, frozen, name, space[name])

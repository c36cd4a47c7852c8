"""Every figure of λ takes a learner, and its frames where they hold what is drawn; the facts are compared."""

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

from bilevel_hpo import BilevelLearner, LossWeights, OneStep, TransferRatios, WeightsDict, plots, search
from tests.engine.problems import batch, budget_learner, net, plain, weighted

NAMES = ["a", "b", "c"]
TRAIN, VAL = [batch(i) for i in range(5)], [batch(i) for i in range(20, 22)]


def vector(seed: int = 0, **options: object) -> BilevelLearner:
    """λ of three losses; an outer step every second inner step, so that epochs have 3 and 2."""
    learner = budget_learner(net(seed=seed), NAMES, hypergradient=OneStep())
    return learner.fit(TRAIN, VAL, 4, **({"outer_every": 2} | options))


def of(weights: torch.nn.Module, loss: object = weighted) -> BilevelLearner:
    """A trained learner with other λ."""
    model = net()
    learner = BilevelLearner(
        model,
        torch.optim.Adam(model.parameters(), lr=0.02),
        weights.double(),
        train_loss=loss,
        val_loss=plain,
        hypergradient=OneStep(),
        outer_optimizer=torch.optim.Adam(weights.parameters(), lr=0.1),
    )
    return learner.fit(TRAIN, VAL, 3, 1)


def matrix() -> BilevelLearner:
    return of(TransferRatios(NAMES, init=0.5))


def several() -> BilevelLearner:
    weights = WeightsDict({"first": LossWeights(NAMES), "other": LossWeights(["x"])})
    return of(weights, lambda model, w, data: weighted(model, w["first"] * w["other"], data))


class TestTrajectory:
    def test_of_a_learner(self) -> None:
        learner = vector()
        facts = plots.trajectory_facts(learner)
        assert facts.x == "epoch"
        np.testing.assert_array_equal(facts.epochs, [0, 1, 2, 3, 4])
        for index, name in enumerate(NAMES):
            np.testing.assert_array_equal(facts.lines[name], learner.trajectory[:, index])
        assert list(facts.to_frame().columns) == ["epoch", *NAMES]

    def test_of_its_trajectory(self) -> None:
        learner = vector()
        facts, named = plots.trajectory_facts(learner.trajectory), plots.trajectory_facts(learner)
        assert list(facts.lines) == ["0", "1", "2"]
        for line, same in zip(facts.lines.values(), named.lines.values(), strict=True):
            np.testing.assert_array_equal(line, same)

    def test_of_its_history_draws_lambda_over_outer_steps_and_no_counters(self) -> None:
        learner = vector()
        facts = plots.trajectory_facts(learner.history)
        assert facts.x == "outer step"
        assert list(facts.lines) == NAMES
        np.testing.assert_array_equal(facts.epochs, np.arange(1, 11))
        np.testing.assert_array_equal(facts.lines["b"], learner.history["lambda:b"])
        assert list(facts.to_frame().columns) == ["outer step", *NAMES]
        assert plots.trajectory(learner.history).layout.xaxis.title.text == "outer step"
        assert plots.trajectory(learner).layout.xaxis.title.text == "epoch"

    def test_of_a_matrix_and_of_several(self) -> None:
        ratios = matrix()
        assert list(plots.trajectory_facts(ratios).lines) == ratios.labels
        by_place = plots.trajectory_facts(ratios.trajectory).lines
        np.testing.assert_array_equal(by_place["2,1"], ratios.trajectory[:, 2, 1])
        both = several()
        assert list(plots.trajectory_facts(both).lines) == ["first.a", "first.b", "first.c", "other.x"]
        assert list(plots.trajectory_facts(both.trajectory).lines) == ["first.0", "first.1", "first.2", "other.0"]

    def test_many_are_ribbons(self) -> None:
        ratios = of(TransferRatios(NAMES, NAMES, init=0.5), weighted)
        wide = torch.cat([ratios.trajectory.flatten(1)] * 2, dim=1)
        facts = plots.trajectory_facts(wide)
        assert facts.names == 18
        np.testing.assert_allclose(facts.quantiles[0.5], np.median(wide.numpy(), axis=1))

    def test_frames_without_lambda_are_named(self) -> None:
        learner = vector()
        with pytest.raises(ValueError, match=r"learner\.epochs has no λ.*pass the learner"):
            plots.trajectory(learner.epochs)
        with pytest.raises(ValueError, match="no outer step"):
            plots.trajectory(vector(outer_every=None).history)
        with pytest.raises(TypeError, match="got a LossWeights"):
            plots.trajectory(learner.weights)
        with pytest.raises(TypeError, match="got a list"):
            plots.trajectory([learner, learner])


class TestConvergence:
    def test_of_a_learner_and_of_its_epochs(self) -> None:
        learner = vector(validate=True)
        for given in (learner, learner.epochs):
            (curve,) = plots.convergence_facts(given).curves.values()
            np.testing.assert_array_equal(curve.x, [1, 2, 3, 4])
            np.testing.assert_array_equal(curve.mean, learner.epochs["val_loss"])
            assert curve.seeds == 1
        seconds = plots.convergence_facts(learner, x="seconds").curves["learned λ"].x
        np.testing.assert_array_equal(seconds, learner.epochs["seconds"])

    def test_of_its_history_is_the_mean_over_the_outer_steps(self) -> None:
        learner = vector()
        (curve,) = plots.convergence_facts(learner.history).curves.values()
        np.testing.assert_allclose(curve.mean, learner.epochs["val_loss"], rtol=1e-14)

    def test_of_seeds_and_methods(self) -> None:
        seeds = [vector(seed) for seed in range(3)]
        fixed = vector(outer_every=None, validate=True)
        facts = plots.convergence_facts({"learned": seeds, "fixed": fixed})
        assert list(facts.curves) == ["learned", "fixed"]
        values = np.stack([learner.epochs["val_loss"] for learner in seeds])
        np.testing.assert_allclose(facts.curves["learned"].mean, values.mean(axis=0))
        np.testing.assert_allclose(facts.curves["learned"].std, values.std(axis=0, ddof=1))
        assert (facts.curves["learned"].seeds, facts.curves["fixed"].seeds) == (3, 1)
        assert list(plots.convergence_facts(seeds).curves) == ["learned λ"]
        assert isinstance(plots.convergence({"learned": seeds, "fixed": fixed}), go.Figure)

    def test_epochs_without_a_validation_loss_are_left_out(self) -> None:
        learner = vector(warm_up=6)
        (curve,) = plots.convergence_facts(learner).curves.values()
        np.testing.assert_array_equal(curve.x, [2, 3, 4])

    def test_what_has_no_validation_loss_is_named(self) -> None:
        fixed = vector(outer_every=None)
        with pytest.raises(
            ValueError, match=r"no validation loss in any of its 4 epochs; fit\(\.\.\., validate=True\)"
        ):
            plots.convergence(fixed)
        with pytest.raises(TypeError, match="got a Tensor"):
            plots.convergence({"m": [fixed.trajectory]})
        with pytest.raises(ValueError, match="at least one training must be given"):
            plots.convergence([])
        with pytest.raises(ValueError, match=r"lacks the columns \['seconds'\]"):
            plots.convergence(vector().epochs.drop(columns="seconds"))


class TestMatrices:
    def test_learner_weights_and_trajectory_are_the_table(self) -> None:
        learner = matrix()
        expected = plots.ratio_heatmap_facts(learner.weights.to_frame())  # type: ignore[attr-defined]
        for given in (learner, learner.weights):
            facts = plots.ratio_heatmap_facts(given)
            assert (facts.targets, facts.sources) == (expected.targets, expected.sources)
            np.testing.assert_array_equal(facts.values, expected.values)
        bare = plots.ratio_heatmap_facts(learner.trajectory)
        np.testing.assert_array_equal(bare.values, expected.values)
        assert bare.targets == ("0", "1", "2")
        graph, same = plots.transfer_graph_facts(learner), plots.transfer_graph_facts(learner.weights.to_frame())  # type: ignore[attr-defined]
        assert graph.to_frame().equals(same.to_frame())
        assert isinstance(plots.ratio_heatmap(learner, order="cluster"), go.Figure)
        assert isinstance(plots.transfer_graph(learner), go.Figure)

    def test_what_is_no_matrix_is_named(self) -> None:
        learner = vector()
        for draw in (plots.ratio_heatmap, plots.transfer_graph):
            with pytest.raises(ValueError, match=r"λ of LossWeights is not a matrix.*plots\.trajectory"):
                draw(learner)
            with pytest.raises(ValueError, match=r"must have a row per target; .* Pass the learner itself"):
                draw(learner.history)
            with pytest.raises(ValueError, match="must have a row per target"):
                draw(learner.epochs)
            with pytest.raises(ValueError, match=r"a tensor of shape \(5, 3\)"):
                draw(learner.trajectory)
            with pytest.raises(TypeError, match="got a float"):
                draw(0.5)

    def test_gain_reads_lambda_from_a_learner(self) -> None:
        learner = matrix()
        frame = learner.weights.to_frame()  # type: ignore[attr-defined]
        pairs = [(s, t) for s in NAMES for t in NAMES if s != t]
        measured = pd.DataFrame(pairs, columns=["source", "target"]).assign(gain=np.arange(6.0))
        whole = measured.assign(**{"lambda": [frame.loc[t, s] for s, t in pairs]})
        facts, same = plots.gain_facts(measured, ratios=learner), plots.gain_facts(whole)
        assert facts.table.equals(same.table)
        assert (facts.rho, facts.p) == (same.rho, same.p)
        assert isinstance(plots.gain(measured, ratios=learner, unit="K"), go.Figure)
        with pytest.raises(ValueError, match="λ is given twice"):
            plots.gain(whole, ratios=learner)
        with pytest.raises(ValueError, match=r"ratios have no source \['z'\]"):
            plots.gain(measured.replace({"source": {"a": "z"}}), ratios=learner)
        with pytest.raises(ValueError, match=r"lacks the columns \['gain'\]"):
            plots.gain(measured.drop(columns="gain"), ratios=learner)


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return search.grid(lambda p: p["a"] + p["b"] * p["c"], dict.fromkeys(NAMES, (0.0, 1.0)))


class TestLandscape:
    def test_the_way_of_a_learner_by_its_names(self, study: optuna.Study) -> None:
        learner = vector()
        way = learner.trajectory
        for given in (learner, way):
            (drawn,) = plots.landscape_facts(study, given).trajectories
            np.testing.assert_array_equal(drawn, way)
        (drawn,) = plots.landscape_facts(study, learner, params=["c", "a"]).trajectories
        np.testing.assert_array_equal(drawn, way[:, [2, 0]])
        (drawn,) = plots.landscape_facts(study, learner.history).trajectories
        np.testing.assert_array_equal(drawn, learner.history[[f"lambda:{name}" for name in NAMES]])
        (drawn,) = plots.slice_facts(study, learner).landscape.trajectories
        np.testing.assert_array_equal(drawn, way)

    def test_a_way_per_seed(self, study: optuna.Study) -> None:
        seeds = [vector(0), vector(1)]
        for given in (seeds, [it.trajectory for it in seeds], [it.history.rename(columns=str) for it in seeds]):
            facts = plots.landscape_facts(study, given)
            assert len(facts.trajectories) == 2
            assert not np.array_equal(facts.trajectories[0], facts.trajectories[1])
        np.testing.assert_array_equal(plots.landscape_facts(study, seeds).trajectories[1], seeds[1].trajectory)
        assert isinstance(plots.landscape(study, seeds), go.Figure)
        assert isinstance(plots.slices(study, seeds), go.Figure)

    def test_a_matrix_is_one_way_and_never_many(self) -> None:
        learner = matrix()
        names = learner.labels
        distributions = dict.fromkeys(names, optuna.distributions.FloatDistribution(0, 1))
        study = optuna.create_study()
        for value in (0.0, 1.0):
            trial = optuna.trial.create_trial(
                params=dict.fromkeys(names, value), distributions=distributions, value=value
            )
            study.add_trial(trial)
        for given in (learner, learner.trajectory):
            (drawn,) = plots.landscape_facts(study, given).trajectories
            np.testing.assert_array_equal(drawn, learner.trajectory.flatten(1))

    def test_what_cannot_be_drawn_is_named(self, study: optuna.Study) -> None:
        with pytest.raises(ValueError, match=r"lacks \['a', 'b', 'c'\]; it has \['first\.a'"):
            plots.landscape(study, several())
        with pytest.raises(ValueError, match=r"learner\.epochs has no λ"):
            plots.landscape(study, vector().epochs)
        for draw in (plots.landscape, plots.slices):
            with pytest.raises(TypeError, match="got a BilevelLearner"):
                draw(vector())


def test_parity_takes_tensors_as_they_come_from_a_model() -> None:
    model = net()
    x, y = TRAIN[0]
    facts = plots.parity_facts(y[:, 0], model(x)[:, 0])
    np.testing.assert_array_equal(facts.predicted, model(x)[:, 0].detach().numpy())
    assert facts.rmse == pytest.approx((model(x) - y)[:, 0].square().mean().sqrt().item())

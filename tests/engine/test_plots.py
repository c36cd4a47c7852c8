"""Figures are compared by the facts behind them; the figures only for what must not be lost on the way."""

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
import pytest

from bilevel_hpo import plots, search

SPACE = {"a": (0.0, 1.0), "b": (0.0, 1.0), "c": (0.0, 1.0)}


def grid_study() -> optuna.Study:
    return search.grid(lambda p: p["a"] + 2 * p["b"] - p["c"], SPACE)


def texts(figure: go.Figure) -> str:
    return figure.to_json()


class TestLandscape:
    def test_points_values_and_best(self) -> None:
        facts = plots.landscape_facts(grid_study())
        assert facts.params == ("a", "b", "c")
        assert facts.points.shape == (8, 3)
        np.testing.assert_allclose(facts.values, facts.points @ [1.0, 2.0, -1.0])
        best = facts.best["trials"]
        np.testing.assert_array_equal(facts.points[best], [0, 0, 1])
        assert facts.values[best] == -1
        assert np.isnan(facts.std).all()

    def test_maximised_study_has_its_star_at_the_top(self) -> None:
        study = optuna.create_study(direction="maximize")
        for value in (0.1, 0.9, 0.5):
            distribution = optuna.distributions.FloatDistribution(0, 1)
            study.add_trial(
                optuna.trial.create_trial(
                    params={"x": value, "y": value}, distributions={"x": distribution, "y": distribution}, value=value
                )
            )
        facts = plots.landscape_facts(study)
        assert facts.points[facts.best["trials"]].tolist() == [0.9, 0.9]
        assert {trace.type for trace in plots.landscape(study).data} == {"scatter"}

    def test_only_complete_trials_count(self) -> None:
        study = grid_study()
        study.ask({name: optuna.distributions.FloatDistribution(*bounds) for name, bounds in SPACE.items()})
        assert len(plots.landscape_facts(study).values) == 8

    def test_recorded_lambda_is_a_diamond_not_a_trial(self) -> None:
        study = grid_study()
        search.record(study, {"a": 0.2, "b": 0.3, "c": 2.0}, -100.0)
        facts = plots.landscape_facts(study)
        assert len(facts.values) == 8
        assert facts.values[facts.best["trials"]] == -1
        assert [path.tolist() for path in facts.trajectories] == [[[0.2, 0.3, 2.0]]]

    @pytest.mark.parametrize(
        ("learned", "shapes"),
        [
            ({"c": 3.0, "a": 1.0, "b": 2.0, "other": 9.0}, [(1, 3)]),
            (np.array([1.0, 2.0, 3.0]), [(1, 3)]),
            ([1.0, 2.0, 3.0], [(1, 3)]),
            (np.ones((5, 3)), [(5, 3)]),
            ([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], [(2, 3)]),
            ([{"a": 0, "b": 0, "c": 0}, {"a": 1, "b": 2, "c": 3}], [(2, 3)]),
            (pd.DataFrame({"b": [0, 2.0], "c": [0, 3.0], "a": [0, 1.0]}), [(2, 3)]),
            ([np.ones((5, 3)), pd.DataFrame({"a": [1.0], "b": [2.0], "c": [3.0]})], [(5, 3), (1, 3)]),
            (np.ones((2, 4, 3)), [(4, 3), (4, 3)]),
            (None, []),
        ],
    )
    def test_learned_in_all_its_forms(self, learned: object, shapes: list[tuple[int, int]]) -> None:
        facts = plots.landscape_facts(grid_study(), learned)
        assert [path.shape for path in facts.trajectories] == shapes
        if shapes and not isinstance(learned, np.ndarray):
            np.testing.assert_array_equal(facts.trajectories[-1][-1], [1, 2, 3])

    @pytest.mark.parametrize(
        ("learned", "message"),
        [
            ({"a": 1.0}, r"lacks \['b', 'c'\]; it has \['a'\]"),
            ([1.0, 2.0], r"shape \(steps, 3\) for .*; got \(1, 2\)"),
            (np.array([[1.0, 2.0, np.nan]]), "not finite at step 0"),
        ],
    )
    def test_learned_that_cannot_be_drawn(self, learned: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plots.landscape_facts(grid_study(), learned)

    def test_four_parameters_need_a_choice(self) -> None:
        study = search.tpe(lambda p: p["a"], SPACE | {"d": (0.0, 1.0)}, trials=2)
        with pytest.raises(ValueError, match=r"4 numeric parameters \['a', 'b', 'c', 'd'\]"):
            plots.landscape(study)
        assert plots.landscape_facts(study, params=["d", "a", "b"]).params == ("d", "a", "b")
        with pytest.raises(ValueError, match="'e'"):
            plots.landscape(study, params=["a", "b", "e"])
        with pytest.raises(ValueError, match="two or more different"):
            plots.landscape(study, params=["a", "a", "b"])

    def test_study_without_trials(self) -> None:
        with pytest.raises(ValueError, match="at least one complete trial"):
            plots.landscape(optuna.create_study())

    def test_frame_is_averaged_over_seeds_and_has_a_best_per_group(self) -> None:
        trials = pd.DataFrame(
            {
                "kind": ["grid", "grid", "grid", "grid", "tpe", "tpe"],
                "mean": [0.0, 0.0, 1.0, 1.0, 0.5, 0.5],
                "std": [0.0, 0.0, 1.0, 1.0, 0.5, 0.7],
                "value": [1.0, 3.0, 1.0, np.inf, 0.5, 0.4],
            }
        )
        facts = plots.LandscapeFacts.from_frame(trials, ["mean", "std"], "value", group="kind")
        np.testing.assert_array_equal(facts.values, [2.0, 1.0, 0.5, 0.4])
        np.testing.assert_array_equal(facts.counts, [2, 1, 1, 1])
        assert facts.std[0] == pytest.approx(np.sqrt(2))
        assert facts.best == {"grid": 1, "tpe": 3}

    def test_figure_has_points_line_start_diamond_and_star(self) -> None:
        figure = plots.landscape(grid_study(), np.linspace(0, 1, 12).reshape(4, 3))
        traces = [trace for trace in figure.data if trace.type == "scatter3d"]
        assert [trace.mode for trace in traces] == ["markers", "lines", "markers", "markers", "text"]
        assert [trace.marker.symbol for trace in traces[2:4]] == ["circle-open", "diamond"]
        assert traces[4].text == ("★",)
        assert (traces[4].x[0], traces[4].y[0], traces[4].z[0]) == (0, 0, 1)
        assert [trace.name for trace in figure.data if trace.showlegend] == ["trials", "learned λ", "best"]


class TestHeatmap:
    def test_orientation_and_diagonal(self) -> None:
        frame = pd.DataFrame([[1.0, 0.3], [0.2, 1.0]], index=["A", "B"], columns=["A", "B"])
        facts = plots.ratio_heatmap_facts(frame, diagonal=False)
        np.testing.assert_array_equal(facts.values, [[np.nan, 0.3], [0.2, np.nan]])
        assert (facts.low, facts.high, facts.with_text) == (0.0, 0.3, True)
        figure = plots.ratio_heatmap(frame)
        assert "rows: target, columns: source" in texts(figure)
        assert figure.data[0].hovertext[0][1] == "target A<br>source B<br>λ = 0.3"
        assert frame.iloc[0, 0] == 1.0

    @pytest.mark.parametrize(("tasks", "with_text"), [(12, True), (13, False), (40, False)])
    def test_text_in_cells_up_to_twelve(self, tasks: int, with_text: bool) -> None:
        names = [f"T{i}" for i in range(tasks)]
        figure = plots.ratio_heatmap(pd.DataFrame(np.eye(tasks), index=names, columns=names))
        assert (figure.data[0].texttemplate is not None) is with_text
        assert len(figure.layout.yaxis.ticktext) == tasks

    def test_names_that_look_like_numbers_and_markup_stay_text(self) -> None:
        names = ["1", "2024-01-01", "<b>x</b>", "a &lt; b"]
        figure = plots.ratio_heatmap(pd.DataFrame(np.eye(4), index=names, columns=names))
        assert list(figure.layout.xaxis.ticktext) == [
            "1",
            "2024-01-01",
            "&lt;b&gt;x&lt;/b&gt;",
            "a &amp;lt; b",
        ]

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="at least one target"):
            plots.ratio_heatmap(pd.DataFrame())
        with pytest.raises(ValueError, match=r"index name \['A'\] more than once"):
            plots.ratio_heatmap(pd.DataFrame(np.eye(2), index=["A", "A"]))
        with pytest.raises(ValueError, match="std must have the same index"):
            plots.ratio_heatmap(pd.DataFrame(np.eye(2)), pd.DataFrame(np.eye(3)))


class TestTrajectory:
    def test_lines(self) -> None:
        facts = plots.trajectory_facts(pd.DataFrame({"x": [2.0, 1.0], "y": [3.0, 4.0]}, index=[1, 0]))
        np.testing.assert_array_equal(facts.epochs, [0, 1])
        np.testing.assert_array_equal(facts.lines["x"], [1, 2])
        assert not facts.quantiles

    def test_ribbons_above_twelve(self) -> None:
        history = pd.DataFrame(np.tile(np.arange(21.0), (3, 1)))
        facts = plots.trajectory_facts(history)
        assert not facts.lines
        assert facts.names == 21
        assert {p: values[0] for p, values in facts.quantiles.items()} == pytest.approx(
            {0.0: 0, 0.1: 2, 0.25: 5, 0.5: 10, 0.75: 15, 0.9: 18, 1.0: 20}
        )
        shown = [trace.name for trace in plots.trajectory(history).data if trace.showlegend is not False]
        assert shown == ["all 21 λ", "middle 80 %", "middle 50 %", "median"]

    def test_names_are_escaped_and_errors_name_what_came(self) -> None:
        figure = plots.trajectory(pd.DataFrame({"<i>": [1.0]}))
        assert figure.data[0].name == "&lt;i&gt;"
        with pytest.raises(ValueError, match=r"shape \(0, 0\)"):
            plots.trajectory(pd.DataFrame())
        with pytest.raises(ValueError, match=r"\['x'\] more than once"):
            plots.trajectory(pd.DataFrame([[1.0, 2.0]], columns=["x", "x"]))


class TestConvergence:
    history = pd.DataFrame(
        {
            "method": ["m"] * 4 + ["<n>"],
            "seed": [0, 0, 1, 1, 0],
            "epoch": [1, 2, 1, 2, 1],
            "seconds": [1.0, 2.0, 3.0, 4.0, 5.0],
            "val": [1.0, 0.5, 3.0, 1.5, 9.0],
        }
    )

    def test_mean_and_spread_over_seeds(self) -> None:
        facts = plots.convergence_facts(self.history)
        assert list(facts.curves) == ["m", "<n>"]
        curve = facts.curves["m"]
        np.testing.assert_array_equal(curve.x, [1, 2])
        np.testing.assert_array_equal(curve.mean, [2, 1])
        np.testing.assert_allclose(curve.std, [np.sqrt(2), np.sqrt(0.5)])
        assert (curve.seeds, facts.curves["<n>"].seeds) == (2, 1)

    def test_seconds_are_averaged(self) -> None:
        curve = plots.convergence_facts(self.history, x="seconds").curves["m"]
        np.testing.assert_array_equal(curve.x, [2, 3])

    def test_band_only_with_several_seeds(self) -> None:
        figure = plots.convergence(self.history)
        assert [trace.fill for trace in figure.data] == ["toself", None, None]
        assert figure.data[2].name == "&lt;n&gt;"

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"lacks the columns \['val'\]"):
            plots.convergence(self.history.drop(columns="val"))
        with pytest.raises(ValueError, match="epoch 1 twice"):
            plots.convergence(pd.concat([self.history, self.history.iloc[:1]]))
        with pytest.raises(ValueError, match="'hours'"):
            plots.convergence(self.history, x="hours")


def test_every_public_name_exists() -> None:
    assert all(hasattr(plots, name) for name in plots.__all__)

"""Slices and the landscape's own additions: which trials are in a cut, what is interpolated, arrows, seconds."""

import itertools

import numpy as np
import optuna
import pandas as pd
import pytest

from bilevel_hpo import plots, search


def grid(values: int = 5) -> plots.LandscapeFacts:
    axis = np.linspace(0, 1, values)
    table = pd.DataFrame(itertools.product(axis, axis, axis), columns=["a", "b", "c"])
    table["value"] = (table["a"] - 0.5) ** 2 + 2 * (table["b"] - 0.25) ** 2 + (table["c"] - 1) ** 2
    table["took"] = 2.0
    return plots.LandscapeFacts.from_frame(table, ["a", "b", "c"], "value", seconds="took", learned=np.ones((4, 3)))


class TestFacts:
    def test_lines_and_planes_hold_exactly_the_trials_within_the_width(self) -> None:
        generator = np.random.default_rng(0)
        table = pd.DataFrame(generator.uniform(2, 6, (300, 4)), columns=list("abcd"))
        table["value"] = ((table - 3) ** 2).sum(axis=1)
        land = plots.LandscapeFacts.from_frame(table, list("abcd"), "value")
        facts = plots.slice_facts(land, width=0.2)
        points = table[list("abcd")].to_numpy()
        best = points[table["value"].argmin()]
        reach = 0.2 * (points.max(axis=0) - points.min(axis=0))
        for i in range(4):
            wanted = [
                r for r, p in enumerate(points) if all(abs(p[k] - best[k]) <= reach[k] for k in range(4) if k != i)
            ]
            assert sorted(facts.lines[i]) == wanted
            assert (np.diff(points[facts.lines[i], i]) >= 0).all()
        for i, j in itertools.combinations(range(4), 2):
            free = [k for k in range(4) if k not in (i, j)]
            wanted = [r for r, p in enumerate(points) if all(abs(p[k] - best[k]) <= reach[k] for k in free)]
            assert list(facts.planes[i, j].rows) == wanted
            assert 0 < len(wanted) < 300

    def test_a_grid_is_cut_along_its_own_lines(self) -> None:
        facts = plots.slice_facts(grid())
        best = facts.landscape.points[facts.landscape.optimum]
        assert best.tolist() == [0.5, 0.25, 1.0]
        assert [len(rows) for rows in facts.lines] == [5, 5, 5]
        assert {len(plane.rows) for plane in facts.planes.values()} == {25}
        np.testing.assert_array_equal(facts.landscape.points[facts.planes[0, 2].rows][:, 1], 0.25)

    def test_interpolation_is_exact_where_the_objective_is_linear_and_absent_far_from_trials(self) -> None:
        generator = np.random.default_rng(1)
        table = pd.DataFrame(generator.uniform(0, 1, (200, 2)), columns=["a", "b"])
        table = table[(table["a"] < 0.3) | (table["a"] > 0.7)]  # nothing was tried between
        table["value"] = 3 * table["a"] - table["b"] + 1
        plane = plots.slice_facts(plots.LandscapeFacts.from_frame(table, ["a", "b"], "value")).planes[0, 1]
        x, y = np.meshgrid(plane.x, plane.y)
        known = np.isfinite(plane.z)
        np.testing.assert_allclose(plane.z[known], (3 * x - y + 1)[known], rtol=1e-5)
        assert known[:, plane.x < 0.25].mean() > 0.7
        assert not known[:, abs(plane.x - 0.5) < 0.05].any()
        extent = np.ptp(table[["a", "b"]].to_numpy(), axis=0)
        points = table[["a", "b"]].to_numpy() / extent
        at = np.stack([x[known], y[known]], axis=1) / extent
        nearest = np.linalg.norm(at[:, None] - points[None], axis=2).min(axis=1)
        assert nearest.max() <= plane.reach + 1e-9

    def test_a_grid_has_no_holes_and_two_trials_no_colour(self) -> None:
        assert all(np.isfinite(plane.z).all() for plane in plots.slice_facts(grid()).planes.values())
        for rows in ([[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]):  # two, or three on one line
            table = pd.DataFrame(rows, columns=["a", "b"]).assign(value=range(len(rows)))
            plane = plots.slice_facts(plots.LandscapeFacts.from_frame(table, ["a", "b"], "value")).planes[0, 1]
            assert np.isnan(plane.z).all()

    def test_the_optimum_of_a_maximised_objective(self) -> None:
        table = pd.DataFrame(
            {"a": [0.0, 1.0, 2.0], "b": [0.0, 1.0, 3.0], "kind": ["g", "t", "t"], "v": [5.0, 9.0, 1.0]}
        )
        facts = plots.LandscapeFacts.from_frame(table, ["a", "b"], "v", group="kind", maximize=True)
        assert facts.optimum == 1
        assert plots.LandscapeFacts.from_frame(table, ["a", "b"], "v", group="kind").optimum == 2

    def test_table_names_the_cut(self) -> None:
        table = plots.slice_facts(grid()).to_frame()
        assert table.groupby("cut").size().to_dict() == {"": 4, "a": 5, "b": 5, "c": 5} | dict.fromkeys(
            ["a × b", "a × c", "b × c"], 25
        )
        assert (table.loc[table["cut"] == "a", "λ:c"] == 1).all()

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"width must be .*; got 1\.5"):
            plots.slices(grid(), width=1.5)
        names = list("abcdefg")
        many = pd.DataFrame(np.eye(7), columns=names).assign(v=1.0)
        with pytest.raises(ValueError, match="7 λ"):
            plots.slices(plots.LandscapeFacts.from_frame(many, names, "v"))
        with pytest.raises(ValueError, match=r"4 numeric parameters .* `slices`"):
            plots.landscape(plots.LandscapeFacts.from_frame(many, names[:4], "v"))
        with pytest.raises(ValueError, match="at least two"):
            plots.slices(search.grid(lambda p: p["x"], {"x": (0.0, 1.0)}))
        with pytest.raises(ValueError, match="part of LandscapeFacts"):
            plots.slices(grid(), [1.0, 1.0, 1.0])


class TestFigure:
    def test_axes_of_one_lambda_are_linked(self) -> None:
        layout = plots.slices(grid()).layout
        # Panels are numbered row by row; below the diagonal row and column share, on it only the column does.
        assert [layout[f"xaxis{n}"].matches for n in ("", 4, 5)] == ["x7", "x7", "x8"]
        assert (layout.yaxis8.matches, layout.yaxis5.matches, layout.yaxis9.matches) == ("y7", "y", "y")
        for axis in layout:
            if axis.startswith(("xaxis", "yaxis")):
                assert layout[axis].matches != axis.replace("axis", "")

    def test_interpolation_is_said_and_on_the_same_scale_as_the_trials(self) -> None:
        figure = plots.slices(grid(), width=0.1)
        said = " ".join(each.text for each in figure.layout.annotations)
        assert "interpolation" in said
        assert "±10 %" in said
        contours = [trace for trace in figure.data if trace.type == "contour"]
        scale = figure.layout.coloraxis
        assert [(each.zmin, each.zmax) for each in contours] == [(scale.cmin, scale.cmax)] * 3
        assert all(each.hovertemplate.startswith("interpolated") for each in contours)

    def test_light_with_a_thousand_trials(self) -> None:
        generator = np.random.default_rng(0)
        table = pd.DataFrame(generator.uniform(0, 1, (1000, 3)), columns=list("abc"))
        table = table.assign(v=table["a"], s=1.0)
        ways = [generator.uniform(0, 1, (3000, 3)) for _ in range(3)]
        facts = plots.LandscapeFacts.from_frame(table, list("abc"), "v", seconds="s", learned=ways)
        assert len(plots.slices(facts).to_json()) < 300_000
        assert len(plots.landscape(facts).to_json()) < 300_000


class TestLandscape:
    def test_seconds_come_from_a_column_or_from_the_trials(self) -> None:
        table = pd.DataFrame({"a": [0, 0, 1.0], "b": [0, 0, 1.0], "v": [1.0, 3, 2], "s": [4.0, 6.0, np.nan]})
        facts = plots.LandscapeFacts.from_frame(table, ["a", "b"], "v", seconds="s")
        np.testing.assert_array_equal(facts.seconds, [5, np.nan])
        study = search.grid(lambda p: p["a"], {"a": (0.0, 1.0), "b": (0.0, 1.0)})
        durations = [trial.duration.total_seconds() for trial in study.trials if trial.duration is not None]
        assert len(durations) == 4
        known = [seconds or np.nan for seconds in durations]
        np.testing.assert_allclose(plots.landscape_facts(study).seconds, known, err_msg="0 s: the clock did not move")
        added = optuna.create_study()
        distribution = optuna.distributions.FloatDistribution(0, 1)
        for value in (0.0, 1.0):
            params = {"x": value, "y": value}
            trial = optuna.trial.create_trial(
                params=params, distributions=dict.fromkeys(params, distribution), value=value
            )
            added.add_trial(trial)
        assert np.isnan(plots.landscape_facts(added).seconds).all()

    def test_hover_has_lambda_value_spread_and_seconds(self) -> None:
        table = pd.DataFrame({"a%{x}": [0.25, 0.25], "b": [0.5, 0.5], "v": [1.0, 3.0], "s": [4.0, 6.0]})
        facts = plots.LandscapeFacts.from_frame(table, ["a%{x}", "b"], "v", seconds="s", objective="RMSE")
        points = plots.landscape(facts).data[0]
        hover = "trials<br>λ a%&#123;x} = %{x:.3g}<br>λ b = %{y:.3g}<br>RMSE %{marker.color:.5g}%{customdata}"
        assert points.hovertemplate == f"{hover}<extra></extra>"
        assert points.customdata[0] == " ± 1.41 (n = 2)<br>5 s"

    def test_arrows_point_the_way_of_each_seed(self) -> None:
        ways = [np.linspace([0, 0, 0], [1, 2, 3], 50), np.linspace([1, 1, 1], [0, 1, 1], 50)]
        figure = plots.landscape(plots.LandscapeFacts.from_frame(_corners(3), list("abc"), "v", learned=ways))
        cones = [trace for trace in figure.data if trace.type == "cone"]
        assert len(cones) == 2
        for cone, way in zip(cones, ways, strict=True):
            vectors = np.stack([cone.u, cone.v, cone.w], axis=1)
            assert len(vectors) == 3
            towards = (way[-1] - way[0]) / np.linalg.norm(way[-1] - way[0])
            np.testing.assert_allclose(
                vectors / np.linalg.norm(vectors, axis=1, keepdims=True), [towards] * 3, atol=1e-9
            )

    def test_arrows_in_two_dimensions_and_none_for_a_way_that_stays(self) -> None:
        ways = [np.linspace([0, 0], [1, 2], 3000), np.ones((50, 2))]
        figure = plots.landscape(plots.LandscapeFacts.from_frame(_corners(2), list("ab"), "v", learned=ways))
        moving, staying = [trace for trace in figure.data if trace.mode == "lines+markers"]
        assert (np.asarray(moving.marker.size) > 0).sum() == 3
        assert moving.marker.angleref == "previous"
        assert len(moving.x) == 200
        assert (moving.x[0], moving.x[-1], moving.customdata[-1]) == (0, 1, 2999)
        assert (np.asarray(staying.marker.size) == 0).all()

    def test_table_has_points_and_ways(self) -> None:
        table = grid().to_frame()
        assert table["what"].value_counts().to_dict() == {"point": 124, "trajectory": 4, "best": 1}
        assert table.loc[
            table["what"] == "best", ["λ:a", "λ:b", "λ:c", "objective", "seconds"]
        ].to_numpy().tolist() == [[0.5, 0.25, 1.0, 0.0, 2.0]]
        assert table.loc[table["what"] == "trajectory", "step"].tolist() == [0, 1, 2, 3]


def _corners(params: int) -> pd.DataFrame:
    names = list("abc")[:params]
    return pd.DataFrame(itertools.product((0.0, 1.0), repeat=params), columns=names).assign(v=1.0)

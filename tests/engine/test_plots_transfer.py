"""Figures of who teaches whom: the clustered order, asymmetry and std maps, the graph, gain against λ."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.stats import permutation_test, spearmanr

from bilevel_hpo import plots

HOSTILE = "<script>alert('1')</script>\"&amp; %{x} " + "x" * 160


def blocks(tasks: int = 12, groups: int = 3, seed: int = 0) -> tuple[pd.DataFrame, dict[str, int]]:
    """λ large within groups of tasks that stand mixed up, and the group of each task."""
    generator = np.random.default_rng(seed)
    group = generator.permutation(np.arange(tasks) % groups)
    same = group[:, None] == group[None, :]
    values = np.where(same, generator.uniform(0.4, 0.9, same.shape), generator.uniform(0, 0.2, same.shape))
    names = [f"T{i}" for i in range(tasks)]
    return pd.DataFrame(values, index=names, columns=names), dict(zip(names, group.tolist(), strict=True))


def square(values: list[list[float]], names: str = "ABC") -> pd.DataFrame:
    return pd.DataFrame(values, index=list(names), columns=list(names))


class TestOrder:
    @pytest.mark.parametrize("seed", range(5))
    def test_tasks_of_a_block_stand_together(self, seed: int) -> None:
        frame, group = blocks(40, 5, seed)
        order = plots.cluster_order(frame)
        assert sorted(order) == sorted(frame.index)
        assert sum(group[a] != group[b] for a, b in pairwise(order)) == 4

    def test_neighbours_are_no_worse_than_in_the_plain_dendrogram(self) -> None:
        frame, _ = blocks(20, 1)
        both = (frame.to_numpy() + frame.to_numpy().T) / 2

        def closeness(order: list[int]) -> float:
            return sum(both[a, b] for a, b in pairwise(order))

        upper = np.triu_indices(20, 1)
        plain = leaves_list(linkage(both.max() - both[upper], "average"))
        assert closeness([frame.index.get_loc(name) for name in plots.cluster_order(frame)]) >= closeness(list(plain))

    def test_neither_the_order_of_columns_nor_the_diagonal_matters(self) -> None:
        frame, _ = blocks()
        unknown = frame.mask(np.eye(len(frame), dtype=bool))
        assert plots.cluster_order(unknown[frame.columns[::-1]]) == plots.cluster_order(frame)

    def test_names_must_be_the_same(self) -> None:
        with pytest.raises(ValueError, match=r"not the same names.*\['A', 'D'\]"):
            plots.cluster_order(pd.DataFrame(np.eye(3), index=list("ABC"), columns=list("BCD")))


class TestHeatmap:
    def test_asymmetry_is_antisymmetric_and_its_colours_even_about_zero(self) -> None:
        frame, _ = blocks()
        facts = plots.ratio_heatmap_facts(frame, show="asymmetry", order="cluster")
        np.testing.assert_array_equal(facts.values, -facts.values.T)
        assert facts.low == -facts.high
        t, s = facts.targets.index("T3"), facts.sources.index("T7")
        assert facts.values[t, s] == frame.loc["T3", "T7"] - frame.loc["T7", "T3"]
        assert abs(facts.values).max() == facts.high

    def test_the_three_maps_of_a_frame_share_their_order(self) -> None:
        frame, _ = blocks()
        std = frame.T / 10
        maps = [
            plots.ratio_heatmap_facts(frame, std, show=show, order="cluster") for show in ("ratio", "std", "asymmetry")
        ]
        assert {each.targets for each in maps} == {each.sources for each in maps} == {plots.cluster_order(frame)}
        for t, target in enumerate(maps[0].targets):
            for s, source in enumerate(maps[0].sources):
                assert maps[0].values[t, s] == frame.loc[target, source]
                assert maps[1].values[t, s] == std.loc[target, source]

    def test_hover_says_both_directions(self) -> None:
        figure = plots.ratio_heatmap(square([[1, 0.5], [0.2, 1]], "AB"), show="asymmetry", diagonal=False)
        assert figure.data[0].hovertext[0][1] == "target A<br>source B<br>λ = 0.5<br>other way 0.2: +0.3"

    def test_table_has_a_row_per_cell(self) -> None:
        frame = square([[1, 0.5], [0.2, 1]], "AB")
        table = plots.ratio_heatmap_facts(frame, frame / 10, diagonal=False, show="asymmetry").to_frame()
        assert table.to_dict("list") == {
            "target": ["A", "B"],
            "source": ["B", "A"],
            "lambda": [0.5, 0.2],
            "std": [0.05, 0.02],
            "asymmetry": pytest.approx([0.3, -0.3]),
        }

    def test_forty_tasks_are_light_and_all_named(self) -> None:
        frame, _ = blocks(40, 5)
        figure = plots.ratio_heatmap(frame, frame / 5, diagonal=False, show="asymmetry", order="cluster")
        assert len(figure.to_json()) < 300_000
        assert sorted(figure.layout.xaxis.ticktext) == sorted(frame.index)

    def test_hostile_names_are_short_on_axes_and_whole_on_hover(self) -> None:
        names = [HOSTILE, "B"]
        figure = plots.ratio_heatmap(pd.DataFrame(np.eye(2), index=names, columns=names))
        label = figure.layout.xaxis.ticktext[0]
        assert label.startswith("&lt;script&gt;")
        assert "…" in label
        hover = figure.data[0].hovertext[0][1]
        assert hover.replace("<br>", "").count("x" * 100) == 1
        assert "<script" not in figure.to_json()

    def test_errors(self) -> None:
        frame = square([[1, 0.5], [0.2, 1]], "AB")
        with pytest.raises(ValueError, match="no std is given"):
            plots.ratio_heatmap(frame, show="std")
        with pytest.raises(ValueError, match="same names in the same order"):
            plots.ratio_heatmap(frame[["B", "A"]], show="asymmetry")
        with pytest.raises(ValueError, match=r"show must be .*; got 'mean'"):
            plots.ratio_heatmap(frame, show="mean")
        with pytest.raises(ValueError, match=r"order must be .*; got 'size'"):
            plots.ratio_heatmap(frame, order="size")


class TestGraph:
    frame = square([[1.0, 0.5, 0.0], [0.2, 1.0, np.nan], [0.9, -0.1, 1.0]])

    def test_edges_are_the_strongest_off_the_diagonal(self) -> None:
        table = plots.transfer_graph_facts(self.frame).to_frame()
        assert table[["source", "target", "lambda"]].to_numpy().tolist() == [
            ["A", "C", 0.9],
            ["B", "A", 0.5],
            ["A", "B", 0.2],
        ]
        top = plots.transfer_graph_facts(self.frame, top=1)
        assert (top.to_frame()["target"].tolist(), top.of) == (["C"], 3)
        assert len(plots.transfer_graph_facts(self.frame, threshold=0.5).edges) == 2

    def test_arrows_lead_from_source_to_target_and_are_wider_where_lambda_is_greater(self) -> None:
        facts = plots.transfer_graph_facts(self.frame)
        place = dict(zip(facts.tasks, facts.xy, strict=True))
        arrows = [trace for trace in plots.transfer_graph(self.frame).data if trace.mode == "lines+markers"]
        for arrow, (_, edge) in zip(arrows, facts.edges.iterrows(), strict=True):
            assert arrow.hovertemplate.startswith(f"{edge['source']} → {edge['target']}<br>λ = {edge['lambda']:.3g}")
            np.testing.assert_allclose([arrow.x[0], arrow.y[0]], place[edge["source"]], atol=1e-6)
            tip = np.array([arrow.x[-1], arrow.y[-1]])
            assert np.linalg.norm(tip - place[edge["target"]]) < 0.06
            assert arrow.marker.size[-1] > 0
            assert not any(arrow.marker.size[:-1])
        assert (np.diff([arrow.line.width for arrow in arrows]) > 0).all()

    def test_degrees_on_hover(self) -> None:
        figure = plots.transfer_graph(self.frame)
        nodes = next(trace for trace in figure.data if trace.mode == "markers")
        facts = plots.transfer_graph_facts(self.frame)
        assert nodes.hovertext[facts.tasks.index("A")] == (
            "A<br>learns from 1 (λ in all 0.5)<br>teaches 2 (λ in all 1.1)"
        )

    def test_forty_tasks(self) -> None:
        frame, group = blocks(40, 5)
        facts = plots.transfer_graph_facts(frame)
        assert len(facts.edges) == 80
        assert all(group[row.source] == group[row.target] for row in facts.edges.itertuples())
        assert len(plots.transfer_graph(frame, frame / 5).to_json()) < 300_000

    def test_names_stay_text(self) -> None:
        names = [HOSTILE, "B", "C"]
        figure = plots.transfer_graph(pd.DataFrame(self.frame.to_numpy(), index=names, columns=names))
        assert "<script" not in figure.to_json()
        assert "%{x}" not in figure.to_json()

    def test_no_edge_and_errors(self) -> None:
        assert plots.transfer_graph(self.frame * 0).layout.annotations[-1].text.startswith("0 strongest of 0 λ")
        with pytest.raises(ValueError, match="only one of top and threshold"):
            plots.transfer_graph(self.frame, top=3, threshold=0.1)
        with pytest.raises(ValueError, match="top must be at least 1; got 0"):
            plots.transfer_graph(self.frame, top=0)
        with pytest.raises(ValueError, match="not the same names"):
            plots.transfer_graph(self.frame[["A", "B"]])


class TestGain:
    @staticmethod
    def table(n: int = 60, *, ties: bool = False, seed: int = 0) -> pd.DataFrame:
        generator = np.random.default_rng(seed)
        x = generator.uniform(size=n)
        x = x.round(1) if ties else x
        y = 0.5 * x + generator.normal(0, 0.2, n)
        y = y.round(1) if ties else y
        return pd.DataFrame({"source": [f"S{i}" for i in range(n)], "target": "T", "lambda": x, "gain": y})

    @pytest.mark.parametrize("ties", [False, True])
    def test_rho_is_spearmans(self, ties: bool) -> None:
        table = self.table(ties=ties)
        facts = plots.gain_facts(table)
        assert facts.rho == pytest.approx(spearmanr(table["lambda"], table["gain"]).statistic, abs=1e-12)

    @pytest.mark.parametrize("ties", [False, True])
    def test_interval_is_that_of_resampled_pairs(self, ties: bool) -> None:
        table = self.table(ties=ties)
        facts = plots.gain_facts(table, resamples=5000)
        generator = np.random.default_rng(1)
        samples = [table.sample(len(table), replace=True, random_state=generator) for _ in range(1000)]
        found = [spearmanr(sample["lambda"], sample["gain"]).statistic for sample in samples]
        assert [facts.low, facts.high] == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=0.04)

    def test_p_is_that_of_a_permutation_test(self) -> None:
        table = self.table(12, seed=3)
        x, y = table["lambda"].to_numpy(), table["gain"].to_numpy()
        oracle = permutation_test(
            (x,), lambda a: spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=2000, rng=0
        )
        assert plots.gain_facts(table, resamples=5000).p == pytest.approx(oracle.pvalue, abs=0.04)
        assert plots.gain_facts(self.table()).p == 1 / 2001

    def test_one_seed_one_result_and_unknown_gains_are_counted(self) -> None:
        table = self.table()
        assert plots.gain_facts(table).low == plots.gain_facts(table).low
        table.loc[0, "gain"] = np.nan
        facts = plots.gain_facts(table)
        assert (facts.n, facts.left_out) == (59, 1)
        assert "1 without a value" in plots.gain(table).layout.title.text

    def test_a_lambda_that_does_not_vary(self) -> None:
        table = self.table().assign(**{"lambda": 1.0})
        assert np.isnan([plots.gain_facts(table).rho, plots.gain_facts(table).p]).all()
        assert plots.gain(table).layout.title.text.startswith("no rank correlation")

    def test_hover_bars_and_size(self) -> None:
        table = self.table(1560).assign(gain_std=0.01)
        table.loc[0, "source"] = HOSTILE
        figure = plots.gain(table, unit="K", resamples=100)
        assert figure.data[0].hovertext[1].startswith("S1 → T<br>λ 0.27<br>gain ")
        assert figure.data[0].error_x.array is None
        assert figure.data[0].error_y.array[0] == 0.01
        assert "<script" not in figure.to_json()
        assert len(figure.to_json()) < 300_000

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"lacks the columns \['gain'\]"):
            plots.gain(self.table().drop(columns="gain"))
        with pytest.raises(ValueError, match="source 'S0', target 'T' twice"):
            plots.gain(pd.concat([self.table(), self.table()]))
        with pytest.raises(ValueError, match=r"at least 3 rows .*; it has 2"):
            plots.gain(self.table(2))
        with pytest.raises(ValueError, match="resamples must be at least 100; got 5"):
            plots.gain(self.table(), resamples=5)

"""Files of a figure, parity, the best so far of searches, and names that want to be more than text."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bilevel_hpo import plots

HOSTILE = "<script>alert('1')</script>\"&amp; %{x} " + "x" * 160


class TestNames:
    def test_labels_are_shortened_in_the_middle(self) -> None:
        assert plots.as_label("short <b>") == "short &lt;b&gt;"
        label = plots.as_label("enthalpy of vaporization at 298.15 K")
        assert (len(label), label[:12], label[-7:]) == (30, "enthalpy of ", "98.15 K")

    def test_hover_is_whole_in_lines_and_fills_nothing_in(self) -> None:
        shown = plots.as_hover(HOSTILE)
        assert "%{" not in shown
        assert "<script" not in shown
        assert max(map(len, shown.split("<br>"))) <= 90
        assert shown.count("x") == HOSTILE.count("x")
        assert plots.as_hover("") == ""


class TestBestSoFar:
    history = pd.DataFrame({"method": "m", "seed": 0, "epoch": [1, 2], "seconds": [1.0, 2.0], "val": [1.0, 0.5]})

    @staticmethod
    def searches() -> pd.DataFrame:
        generator = np.random.default_rng(0)
        rows = [
            {"method": method, "seed": seed, "seconds": generator.uniform(1, 5), "val": generator.uniform()}
            for method, trials in (("grid", 40), ("tpe", 25))
            for seed in range(3)
            for _ in range(trials + seed)
        ]
        return pd.DataFrame(rows)

    def test_against_a_loop(self) -> None:
        searches = self.searches()
        facts = plots.convergence_facts(self.history, x="seconds", searches=searches)
        assert list(facts.searches) == ["grid", "tpe"]
        for method, curve in facts.searches.items():
            runs = []
            for _, trials in searches[searches["method"] == method].groupby("seed"):
                clock, best, run = 0.0, np.inf, []
                for seconds, val in zip(trials["seconds"], trials["val"], strict=True):
                    clock, best = clock + seconds, min(best, val)
                    run.append((clock, best))
                runs.append(run)
            assert curve.x[0] == pytest.approx(max(run[0][0] for run in runs))
            assert curve.x[-1] == pytest.approx(max(run[-1][0] for run in runs))
            for x, mean, std in zip(curve.x, curve.mean, curve.std, strict=True):
                found = [min(best for clock, best in run if clock <= x + 1e-9) for run in runs]
                assert mean == pytest.approx(np.mean(found))
                assert std == pytest.approx(np.std(found, ddof=1))
            assert len(curve.x) < 40

    def test_a_training_that_diverged_counts_its_time_and_finds_nothing(self) -> None:
        searches = pd.DataFrame(
            {"method": "grid", "seed": 0, "seconds": 1.0, "val": [np.nan, np.inf, 3.0, np.nan, 2.0]}
        )
        curve = plots.convergence_facts(self.history, x="seconds", searches=searches).searches["grid"]
        assert (curve.x.tolist(), curve.mean.tolist()) == ([3.0, 5.0], [3.0, 2.0])

    def test_figure_has_steps_and_a_logarithmic_axis_for_a_long_search(self) -> None:
        figure = plots.convergence(self.history, x="seconds", searches=self.searches())
        lines = [trace for trace in figure.data if trace.fill is None]
        assert [line.name for line in lines] == ["m", "grid, best so far", "tpe, best so far"]
        assert [line.line.shape for line in lines] == ["linear", "hv", "hv"]
        assert figure.layout.xaxis.type == "log"
        short = pd.DataFrame({"method": "grid", "seed": 0, "seconds": [1.0, 1.0], "val": 1.0})
        assert plots.convergence(self.history, x="seconds", searches=short).layout.xaxis.type is None

    def test_table(self) -> None:
        table = plots.convergence_facts(self.history, x="seconds", searches=self.searches()).to_frame()
        assert list(table.columns) == ["kind", "method", "seconds", "mean", "std", "seeds"]
        assert table.groupby("kind")["seeds"].max().to_dict() == {"search": 3, "training": 1}

    def test_errors(self) -> None:
        searches = self.searches()
        with pytest.raises(ValueError, match="x must be 'seconds' with searches"):
            plots.convergence(self.history, searches=searches)
        with pytest.raises(ValueError, match=r"searches lack the columns \['val'\]"):
            plots.convergence(self.history, x="seconds", searches=searches.drop(columns="val"))
        with pytest.raises(ValueError, match=r"'grid', seed 0, took -1\.0 seconds"):
            plots.convergence(self.history, x="seconds", searches=searches.assign(seconds=-1.0))
        with pytest.raises(ValueError, match="no trial of 'grid' has a finite val"):
            plots.convergence(self.history, x="seconds", searches=searches.assign(val=np.nan))


class TestParity:
    def test_rmse_and_r2(self) -> None:
        facts = plots.parity_facts([1.0, 2.0, 3.0, np.nan], [1.0, 2.5, 2.0, 7.0])
        assert facts.rmse == pytest.approx(np.sqrt(1.25 / 3))
        assert facts.r2 == pytest.approx(1 - 1.25 / 2)
        assert (facts.n, facts.left_out, facts.counts) == (3, 1, None)
        assert np.isnan(plots.parity_facts([1.0, 1.0], [1.0, 2.0]).r2)

    def test_title_axes_and_hover(self) -> None:
        figure = plots.parity([1.0, 2.0], [1.0, 2.5], task=HOSTILE, unit="kJ/mol", names=["C<b>", HOSTILE])
        assert figure.layout.title.text.endswith("RMSE 0.3536 kJ/mol, R² 0.500, n = 2")
        assert figure.layout.xaxis.title.text == "measured (kJ/mol)"
        assert figure.data[0].customdata[0] == "C&lt;b&gt;<br>"
        assert "<script" not in figure.to_json()

    def test_density_counts_every_point_and_stays_light(self) -> None:
        generator = np.random.default_rng(0)
        y = generator.normal(300, 50, 100_000)
        fitted = y + generator.normal(0, 8, len(y))
        facts = plots.parity_facts(y, fitted)
        assert facts.counts is not None
        assert facts.edges is not None
        assert facts.counts.sum() == len(y)
        inside = (
            (y >= facts.edges[30]) & (y < facts.edges[31]) & (fitted >= facts.edges[29]) & (fitted < facts.edges[30])
        )
        assert facts.counts[29, 30] == inside.sum() > 0  # rows: predicted
        figure = plots.parity(y, fitted)
        assert [trace.type for trace in figure.data] == ["heatmap", "scatter"]
        assert (np.isnan(figure.data[0].z) == (facts.counts == 0)).all()
        assert len(figure.to_json()) < 300_000
        assert len(facts.to_frame()) == len(y)

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"measured and predicted .*; got \(2,\) and \(3,\)"):
            plots.parity([1.0, 2.0], [1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match="one entry for each of 2 points; got 1"):
            plots.parity([1.0, 2.0], [1.0, 2.0], names=["a"])
        with pytest.raises(ValueError, match="got 1 pairs, none of them finite"):
            plots.parity([np.nan], [1.0])


class TestExport:
    facts = plots.ratio_heatmap_facts(pd.DataFrame(np.eye(2), index=[HOSTILE, "B"], columns=[HOSTILE, "B"]))
    figure = plots.ratio_heatmap(pd.DataFrame(np.eye(2), index=[HOSTILE, "B"], columns=[HOSTILE, "B"]))

    def test_csv_holds_what_is_shown(self, tmp_path: Path) -> None:
        (file,) = plots.export(self.figure, self.facts, tmp_path / "new" / "map.v1", formats=["csv"])
        assert file == tmp_path / "new" / "map.v1.csv"
        table = pd.read_csv(file)
        pd.testing.assert_frame_equal(table, self.facts.to_frame(), check_dtype=False)
        assert table.loc[0, "target"] == HOSTILE

    def test_page_is_whole_and_sends_nothing(self, tmp_path: Path) -> None:
        page = plots.export(self.figure, self.facts, tmp_path / "map")[0].read_text(encoding="utf-8")
        assert "default-src 'none'" in page
        assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", page)
        assert "<script>alert" not in page
        config = json.loads("{" + page.rsplit("{", 1)[1].split("}")[0] + "}")
        assert "sendChartToCloud" in config["modeBarButtonsToRemove"]
        assert config["showSendToCloud"] is False

    def test_json_can_be_read_back(self, tmp_path: Path) -> None:
        (file,) = plots.export(self.figure, self.facts.to_frame(), tmp_path / "map", formats=["json"])
        assert json.loads(file.read_text(encoding="utf-8"))["data"][0]["type"] == "heatmap"

    def test_pictures_say_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(plots.ExportError, match=r"map\.png needs kaleido: pip install 'bilevel-hpo\[images\]'"):
            plots.export(self.figure, self.facts, tmp_path / "map", formats=["csv", "png"])
        assert (tmp_path / "map.csv").exists()

    def test_unknown_format(self, tmp_path: Path) -> None:
        for formats in (["pdf"], "csv"):
            with pytest.raises(ValueError, match="formats must be"):
                plots.export(self.figure, self.facts, tmp_path / "map", formats=formats)


def test_every_kind_of_facts_has_a_table() -> None:
    table = plots.trajectory_facts(pd.DataFrame({"x": [2.0, 1.0]}, index=[1, 0])).to_frame()
    assert table.to_dict("list") == {"epoch": [0, 1], "x": [1, 2]}
    many = plots.trajectory_facts(pd.DataFrame(np.ones((3, 20)))).to_frame()
    assert "quantile 0.5" in many
    kinds = [getattr(plots, name) for name in plots.__all__ if name.endswith("Facts")]
    assert len(kinds) == 8
    assert all(hasattr(kind, "to_frame") for kind in kinds)

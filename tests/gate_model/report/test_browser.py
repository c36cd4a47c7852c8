"""The report in a real browser: nothing fails, every figure shows the numbers of the run, hostile names stay text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate_model.report import report_facts, write_report
from tests.browser import chromium, draw_all, opened
from tests.gate_model.run_folder import write_run

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "<b>long</b> " + "&amp;'\"" * 32,
)
SMILES = "</script><script>alert(3)</script><img src=x onerror=alert(4)>"
METHODS = ("budget", "direct", "lambda=1", "lambda=0", "grid", "tpe")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def three(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any], Any]]:
    folder = tmp_path_factory.mktemp("three")
    results = write_run(folder, epochs=8)
    with opened(browser, write_report(folder)) as found:
        draw_all(found.page)
        yield folder, results, found


@pytest.fixture(scope="module")
def many(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any], Any]]:
    folder = tmp_path_factory.mktemp("many")
    results = write_run(folder, [f"T{i:02d}" for i in range(32)], epochs=3, molecules=20, shared=True)
    with opened(browser, write_report(folder)) as found:
        draw_all(found.page)
        yield folder, results, found


def drawn(page: Any, name: str) -> dict[str, Any]:
    """What plotly holds for a figure after drawing it: its traces and layout."""
    code = """(name) => {
        const place = document.querySelector(`[data-figure="${name}"]`);
        return JSON.parse(JSON.stringify({ data: place._fullData.map((trace) => ({
            type: trace.type, name: trace.name, visible: trace.visible, x: [...trace.x ?? []], y: [...trace.y ?? []],
            z: trace.z && [...trace.z].map((row) => row?.length === undefined ? row : [...row]) })),
            ticks: place._fullLayout.yaxis?.ticktext }));
    }"""
    return page.evaluate(code, name)


def test_nothing_fails_and_nothing_is_loaded(three: Any, many: Any) -> None:
    for _, _, found in (three, many):
        assert found.errors == []
        assert found.requests == []


def test_figures_show_the_values_of_results_json(three: Any, many: Any) -> None:
    for _, results, found in (three, many):
        methods = {method["name"]: method for method in results["methods"]}
        rmse = {name: np.mean(list(method["test"].values())) for name, method in methods.items()}
        shown = drawn(found.page, "differences")
        means = shown["data"][-1]
        labels = [tick.replace("λ = 1", "lambda=1").replace("TPE", "tpe") for tick in shown["ticks"]]
        expected = [100 * (rmse[name] / rmse["lambda=0"] - 1) for name in labels]
        np.testing.assert_allclose(means["x"], expected, rtol=1e-6)

        mean = np.mean(methods["budget"]["lambda"]["per_seed"], axis=0)
        shown = drawn(found.page, "heatmap-budget")
        map_ = next(trace for trace in shown["data"] if trace["type"] == "heatmap")
        order = [results["tasks"].index(tick) for tick in shown["ticks"]]
        z = np.array(map_["z"], dtype=float)
        off = ~np.eye(len(order), dtype=bool)
        np.testing.assert_allclose(z[off], mean[np.ix_(order, order)][off], rtol=1e-6)


def test_search_figures_show_the_trials(three: Any, many: Any) -> None:
    folder, _, found = three
    facts = report_facts(folder)
    assert facts.files.trials is not None
    points = [trace for trace in drawn(found.page, "landscape")["data"] if trace["type"] == "scatter3d"]
    grid = facts.files.trials[facts.files.trials["method"] == "grid"].drop_duplicates(list(facts.parameters))
    assert sorted(zip(*(points[0][axis] for axis in "xyz"), strict=True)) == sorted(
        map(tuple, grid[list(facts.parameters)].to_numpy())
    )
    _, _, found = many
    shown = {trace["name"]: trace for trace in drawn(found.page, "landscape")["data"]}
    assert len(shown["grid"]["x"]) == 9
    assert {"grid", "TPE"} < set(shown)


@pytest.mark.parametrize("width", [600, 1150])
def test_scale_of_the_slices_is_clear_of_the_axes(browser: Any, three: Any, width: int) -> None:
    """In a figure as wide as the page, and in one as narrow as it gets before it scrolls."""
    code = """() => {
        const place = document.querySelector('[data-figure="slices"]');
        const edges = (what, side) => [...place.querySelectorAll(what)].map((at) => at.getBoundingClientRect()[side]);
        const ticks = edges('.cartesianlayer [class$="tick"] text', "right");
        return [Math.max(...ticks), Math.min(...edges(".cbfills", "left"))];
    }"""
    folder, _, _ = three
    with opened(browser, folder / "report.html", viewport={"width": width, "height": 900}) as found:
        draw_all(found.page)
        ticks, scale = found.page.evaluate(code)
        assert 0 < ticks < scale < width


def test_hover_and_legend(many: Any) -> None:
    _, _, found = many
    page = found.page
    place = page.locator('[data-figure="task-differences"]')
    place.scroll_into_view_if_needed()
    point = place.locator(".points path").first
    point.hover(force=True)
    label = place.locator(".hovertext")
    label.first.wait_for()
    assert "%" in label.first.text_content()
    before = sum(trace["visible"] is True for trace in drawn(page, "task-differences")["data"])
    place.locator(".legendtoggle").first.click(force=True)
    page.wait_for_function(
        """(before) => document.querySelector('[data-figure="task-differences"]')
        ._fullData.filter((trace) => trace.visible === true).length === before - 1""",
        arg=before,
    )


def test_csv_of_a_figure(three: Any) -> None:
    _, _, found = three
    with found.page.expect_download() as download:
        found.page.locator('[data-csv="differences"]').click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "method,reference,difference_percent,low,high"
    assert len(lines) == 1 + len(METHODS) - 1
    assert download.value.suggested_filename == "differences.csv"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, many: Any, scheme: str) -> None:
    folder, _, _ = many
    phone = {"width": 400, "height": 800}
    with opened(
        browser, folder / "report.html", viewport=phone, color_scheme=scheme, has_touch=True, is_mobile=True
    ) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth") <= 400
        paper = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") is (scheme == "light")
        found.page.wait_for_selector(".main-svg")
        assert found.errors == []


def test_hostile_names_stay_text(browser: Any, tmp_path: Path) -> None:
    assert max(map(len, HOSTILE)) >= 200
    write_run(tmp_path, HOSTILE, smiles=SMILES, unit="<i>u</i>", epochs=3, molecules=5)
    with opened(browser, write_report(tmp_path)) as found:
        page = found.page
        draw_all(page)
        assert found.errors == []
        assert found.requests == []
        assert page.locator("img, main b, script:not(body > script)").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 1150
        text = page.evaluate("document.body.innerText")
        assert all(name in text for name in HOSTILE)
        hover = page.evaluate(
            """() => {
                const place = document.querySelector('[data-figure="parity-0"]');
                Plotly.Fx.hover(place, [{ curveNumber: 0, pointNumber: 0 }]);
                return place.querySelector(".hovertext").textContent;
            }"""
        )
        assert "".join(hover.split()).startswith("".join(SMILES.split()))  # long texts are wrapped


def test_it_prints(browser: Any, three: Any) -> None:
    folder, _, _ = three
    with opened(browser, folder / "report.html") as found:
        assert found.page.pdf(format="A4").startswith(b"%PDF")
        found.page.wait_for_function(
            "() => [...document.querySelectorAll('[data-figure]')].every((place) => place.querySelector('.main-svg'))"
        )
        assert found.errors == []
    assert json.loads((folder / "results.json").read_text())["tasks"] == ["DS", "HV", "BP"]

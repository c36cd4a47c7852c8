"""Pages of comparisons that are not GATE's in a real browser: nothing fails, and the figures show the record."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilevel_hpo.report import write_report
from tests.browser import chromium, draw_all, opened
from tests.engine.report_folder import RMSE, TITLES, write_folder

HOSTILE = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "<b>long</b> " + "&amp;'\"" * 32)
FOLDERS: dict[str, dict[str, Any]] = {
    "vector": {"labels": ("a", "b"), "methods": tuple(TITLES)},
    "many": {"labels": [f"w{i}" for i in range(2000)], "axes": ["all"], "tasks": ("A", "B")},
    "matrix": {"labels": ("x", "y", "z"), "matrix": True, "metric": RMSE, "axes": ["x|y", "x|z", "y|z"]},
    "no lambda": {"labels": (), "methods": ("lambda=1", "lambda=0")},
    "hostile": {"labels": HOSTILE, "tasks": HOSTILE},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def bad_places(page: Any) -> list[str]:
    """Elements that stand nowhere: at NaN or at infinity. Pictures are left out, whose letters may be any."""
    code = """() => [...document.querySelectorAll('[data-figure] *:not(image)')]
        .filter((each) => [...each.attributes].some((a) => /NaN|Infinity/.test(a.value)))
        .map((each) => each.outerHTML.slice(0, 100))"""
    return page.evaluate(code)


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_fails_on_paper_white_or_black_wide_or_narrow(browser: Any, tmp_path: Path, name: str) -> None:
    write_folder(tmp_path, **FOLDERS[name])
    path = write_report(tmp_path)
    for width, scheme in ((1150, "light"), (400, "dark")):
        with opened(browser, path, viewport={"width": width, "height": 900}, color_scheme=scheme) as found:
            draw_all(found.page)
            assert found.errors == []
            assert found.requests == []
            assert found.page.evaluate("document.documentElement.scrollWidth") <= width
            assert bad_places(found.page) == []
            assert found.page.locator("img, main b, script:not(body > script)").count() == 0


def drawn(page: Any, name: str) -> list[dict[str, Any]]:
    """The traces that plotly holds for a figure after drawing it."""
    code = """(name) => JSON.stringify(document.querySelector(`[data-figure="${name}"]`)._fullData.map((trace) => (
        { name: trace.name, x: [...trace.x ?? []], y: [...trace.y ?? []] })))"""
    return json.loads(page.evaluate(code, name))


def test_figures_show_the_record(browser: Any, tmp_path: Path) -> None:
    results = write_folder(tmp_path)
    with opened(browser, write_report(tmp_path)) as found:
        draw_all(found.page)
        means = {method["name"]: np.mean(method["test"]["accuracy"]) for method in results["methods"]}
        shown = drawn(found.page, "differences")[-1]["x"]
        expected = sorted((means[name] - means["lambda=0"] for name in means if name != "lambda=0"), reverse=True)
        np.testing.assert_allclose(shown, expected, rtol=1e-6)
        lambda_ = np.mean(results["methods"][0]["lambda"]["per_seed"], axis=0)
        np.testing.assert_allclose(drawn(found.page, "lambda-learned")[-1]["x"], np.sort(lambda_)[::-1], rtol=1e-6)
        lines = {trace["name"]: trace for trace in drawn(found.page, "trajectory-learned")}
        np.testing.assert_allclose([lines[label]["y"][-1] for label in "abc"], lambda_, rtol=1e-6)

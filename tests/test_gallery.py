"""The comparisons of examples/gallery keep what docs/gallery.md says of them: one seed, few trials."""

import ast
import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from bilevel_hpo.comparison import Comparison

pytest.importorskip("sklearn")
pytest.importorskip("chemicals")

GALLERY = Path(__file__).parents[1] / "examples" / "gallery"
SCRIPTS = ["auxiliary_tasks", "many_regularisers", "trusted_sources", "wrong_labels"]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, GALLERY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quick(name: str, out: Path) -> tuple[ModuleType, Comparison, "pd.Series[float]", "pd.Series[float]"]:
    """The module, its comparison, learned λ by label, and scores by method."""
    module = load(name)
    found = module.main(out, seeds=[0], workers=1, quick=True)
    table = pd.read_csv(out / "weights.csv")
    weights = table[table["method"] == "learned"].set_index("label")["lambda"]
    return module, found, weights, found.table.set_index("method").iloc[:, 0]


def test_weights_of_tasks_that_help_end_above_those_that_do_not(tmp_path):
    module, found, weights, accuracy = quick("auxiliary_tasks", tmp_path)
    assert weights[module.HELPERS].mean() > 1.25  # all start at 1
    assert weights[module.JUNK].mean() < 0.85
    assert weights.sum() == pytest.approx(10)
    assert accuracy["learned"] > accuracy["equal"] + 0.05
    assert found.report.exists()


def test_weights_tell_wrong_labels(tmp_path):
    module, _, weights, accuracy = quick("wrong_labels", tmp_path)
    assert module.auc(weights.to_numpy(), seed=0) > 0.9
    assert accuracy["learned"] > accuracy["equal"]
    assert accuracy["learned"] > accuracy["clean"]


def test_computed_melting_points_lose_their_say(tmp_path):
    module, _, weights, rmse = quick("trusted_sources", tmp_path)
    assert weights["Joback (computed)"] < 0.3 * weights[module.GROUPS["collected"]].min()
    assert rmse["learned"] < rmse["equal"]
    assert rmse["learned"] < rmse["curated"]


def test_no_table_says_anything_about_molecules_that_are_not_trained_on():
    module = load("trusted_sources")
    d, molecule = module.data(0), module.table().molecule
    held = np.concatenate([molecule[part] for part in (d.validation, d.selection, d.test)])
    assert len(np.unique(held)) == len(held) == 1350
    assert not np.isin(molecule[d.train], held).any()
    assert [int((d.source[d.train] == number).sum()) for number in range(6)] == [150] + [400] * 5


def test_decays_of_their_own_are_better_than_one(tmp_path):
    _, _, decays, loss = quick("many_regularisers", tmp_path)
    assert len(decays) == 2144
    assert decays.max() > 100 * decays.min() > 0
    assert loss["learned"] < 0.95 * loss["uniform"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_user_writes_is_at_most_25_lines(name):
    source = (GALLERY / f"{name}.py").read_text(encoding="utf-8")
    lines, count = source.splitlines(), 0
    for part in ast.parse(source).body:
        if isinstance(part, ast.FunctionDef) and part.name in ("training", "main"):
            docstring = part.body[0]
            inside = range(part.lineno, part.end_lineno + 1)
            count += sum(
                bool(lines[n - 1].strip()) and not docstring.lineno <= n <= docstring.end_lineno for n in inside
            )
    assert 10 < count <= 25


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(GALLERY / f"{name}.py"), run_name="__main__")
    assert not end.value.code
    assert "--quick" in capsys.readouterr().out

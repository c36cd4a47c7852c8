"""What `lint-imports` cannot say: the adapter uses public names only, and heavy libraries come when they are used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bilevel_hpo

ROOT = Path(bilevel_hpo.__file__).parents[1]
ADAPTER = sorted((ROOT / "gate_model").rglob("*.py"))
PUBLIC_MODULES = {
    "bilevel_hpo",
    "bilevel_hpo.comparison",
    "bilevel_hpo.jobs",
    "bilevel_hpo.optimizers",
    "bilevel_hpo.plots",
    "bilevel_hpo.report",
    "bilevel_hpo.run_folder",
    "bilevel_hpo.search",
    "bilevel_hpo.signal",
    "bilevel_hpo.statistics",
}
SUBPACKAGES = {"comparison", "plots", "search"}
"""They come when they are used."""
NOT_FOR_A_GRADIENT = ["optuna", "plotly", "scipy", "higher"]


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, names imported from it); no names for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield node.module or "", tuple(alias.name for alias in node.names)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_scan():
    assert len(ADAPTER) >= 10


@pytest.mark.parametrize("path", ADAPTER, ids=short)
def test_the_adapter_uses_public_names_of_the_engine(path):
    for module, names in imports(path):
        if module.split(".")[0] != "bilevel_hpo":
            continue
        assert module in PUBLIC_MODULES, f"{module} is private to the engine"
        if module == "bilevel_hpo":
            assert set(names) <= {*bilevel_hpo.__all__, *SUBPACKAGES}
        else:
            assert not [name for name in names if name.startswith("_")]


def test_every_public_name_is_there():
    for name in bilevel_hpo.__all__:
        assert getattr(bilevel_hpo, name) is not None
    assert set(bilevel_hpo.__all__) <= set(dir(bilevel_hpo))
    with pytest.raises(AttributeError, match="'bilevel_hpo' has no attribute 'plot'"):
        _ = bilevel_hpo.plot


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


LEARN = """
import sys, torch, bilevel_hpo
model, weights = torch.nn.Linear(1, 1), bilevel_hpo.LossWeights(["a"])
learner = bilevel_hpo.BilevelLearner(
    model, torch.optim.Adam(model.parameters()), weights,
    train_loss=lambda m, w, x: w[0] * m(x).square().mean(), val_loss=lambda m, w, x: m(x).square().mean(),
)
learner.fit([torch.ones(2, 1)], [torch.ones(2, 1)], epochs=2, outer_every=1)
learner.history, learner.epochs, learner.state_dict(), learner.citation()
"""


def test_a_gradient_needs_neither_plots_nor_searches_which_come_when_they_are_used():
    asked = f"print([name for name in {NOT_FOR_A_GRADIENT} if name in sys.modules])"
    used = "print(bilevel_hpo.search.grid.__name__, bilevel_hpo.plots.trajectory.__name__)"
    assert run(f"{LEARN}\n{asked}\n{used}") == "[]\ngrid trajectory"


def test_a_star_brings_no_plots_and_no_searches_but_a_name_does():
    asked = f"import sys; print(OneStep(), [name for name in {NOT_FOR_A_GRADIENT} if name in sys.modules])"
    used = "print(search.grid.__name__, plots.trajectory.__name__)"
    assert run(f"from bilevel_hpo import *; {asked}; from bilevel_hpo import plots, search; {used}") == (
        "OneStep() []\ngrid trajectory"
    )
    assert set(dir(bilevel_hpo)) >= SUBPACKAGES

"""Every Python snippet of README and docs is run; snippets of one page share their names, from top to bottom."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)


def snippets(page: Path) -> list[str]:
    return SNIPPET.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.name)
def test_snippets_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if any("load_chemicals" in snippet for snippet in snippets(page)):
        request.getfixturevalue("chemicals_table")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in snippets(page):
        exec(compile(snippet, str(page), "exec"), names)


def test_readme_learns_to_leave_the_noise_out() -> None:
    names: dict[str, object] = {}
    exec(compile(snippets(ROOT / "README.md")[0], "README.md", "exec"), names)
    weights = names["weights"]
    assert isinstance(weights, torch.nn.Module)
    assert weights()[0] > 0.9


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

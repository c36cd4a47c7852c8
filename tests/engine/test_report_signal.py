"""What the page says of the hypergradients of a comparison, and where."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bilevel_hpo.report import ReportError, ReportFacts, report_facts, write_report
from bilevel_hpo.report._signal_words import precision_words, signal_words
from tests.engine.report_folder import RMSE, change, write_folder
from tests.report_page import Page

METHODS = ("learned", "lambda=1", "lambda=0")
COLUMNS = ["method", "seed", "outer_step", "certificate", "computed_in", "certified"]


def verdict(seed: int) -> dict[str, Any]:
    """One λ told from chance in seed 2, none in the others."""
    more = ["HV->DS"] if seed == 2 else []
    numbers = {"told": len(more), "tested": 9, "p": 0.01 if more else 0.4, "level": 0.05, "steps": 10}
    return numbers | {"more": more, "less": [], "effective_steps": 9.0}


def written(folder: Path, seeds: tuple[int, ...] = (0, 1, 2), tasks: tuple[str, ...] = ("DS", "HV", "BP")) -> Any:
    """A folder with a verdict and 10 outer steps a seed, the third of them computed in float64."""
    results = write_folder(folder, tasks, seeds, METHODS, tasks=tasks, metric=RMSE, matrix=True)
    results["methods"][0]["signal"] = [verdict(seed) for seed in seeds]
    steps = [("learned", seed, n, 1e-7, "float64" if n == 3 else "float32", True) for seed in seeds for n in range(10)]
    pd.DataFrame(steps, columns=COLUMNS).to_csv(folder / "outer_steps.csv", index=False)
    change(folder, results)
    return results


def said(folder: Path, of: Any = signal_words) -> list[str]:
    facts: ReportFacts = report_facts(folder)
    return list(of(facts, facts.methods[0]))


def test_several_seeds_in_words(tmp_path: Path) -> None:
    written(tmp_path)
    assert said(tmp_path) == [
        "Is there anything to learn? 0, 0 and 1 of 9 λ, direct paths included, can be told from chance (seeds 0, 1 "
        "and 2), in 10 outer steps each, at a level of 5 % for all of them; all λ together: p 0.4, 0.4 and 0.01. "
        "Told from chance: HV → DS (more, 1 of 3)."
    ]
    assert said(tmp_path, precision_words) == [
        "In 3 of 30 outer steps the hypergradient was computed again in float64, and in 0 its rounding could not "
        "be certified."
    ]
    facts = report_facts(tmp_path)
    (of_another,) = signal_words(facts, facts.methods[1])
    assert of_another.startswith("Is there anything to learn, learned λ (one-step hypergradient)? 0, 0 and 1 of 9")


def test_the_same_count_in_every_seed_is_said_once(tmp_path: Path) -> None:
    written(tmp_path, (0, 1))
    assert (
        "0 of 9 λ, direct paths included, can be told from chance (each of seeds 0 and 1), in 10" in said(tmp_path)[0]
    )


def test_labels_of_a_vector_stay_as_they_are(tmp_path: Path) -> None:
    results = write_folder(tmp_path, ("a", "b->c"), seeds=(0,))
    told = {"told": 2, "tested": 2, "more": ["b->c"], "less": ["a"]}
    results["methods"][0]["signal"] = [verdict(0) | told]
    words = said(change(tmp_path, results))[0]
    assert "2 of 2 λ can be told from chance, in 10 outer steps" in words
    assert words.endswith("Told from chance: b->c (more), a (less).")


@pytest.mark.parametrize("tasks", [3, 13], ids=["beside one another", "wide"])
def test_the_page_says_it_once_under_the_map(tmp_path: Path, tasks: int) -> None:
    written(tmp_path, (0,), tuple(f"T{i:02d}" for i in range(tasks)))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert page.count("Is there anything to learn?") == 1
    assert page.index('data-figure="heatmap-learned"') < page.index("Is there anything") < page.index("float64, and")


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({}, "constant λ, or a search over a few, would do as well."),
        ({"p": 0.02}, "There is something to learn, but these outer steps do not say from which λ."),
        ({"told": 1, "less": ["DS->DS"]}, "Told from chance: direct path of DS (less)."),
    ],
)
def test_one_seed_in_words(tmp_path: Path, more: dict[str, Any], end: str) -> None:
    results = written(tmp_path, (0,))
    results["methods"][0]["signal"] = [verdict(0) | more]
    (words,) = said(change(tmp_path, results))
    assert f"{more.get('told', 0)} of 9 λ, direct paths included, can be told from chance, in 10 outer" in words
    assert words.endswith(end)


def test_what_could_not_be_certified_is_counted(tmp_path: Path) -> None:
    written(tmp_path, (0,))
    path = tmp_path / "outer_steps.csv"
    frame = pd.read_csv(path)
    frame.loc[[2, 5], "certified"] = False
    frame.to_csv(path, index=False)
    (words,) = said(tmp_path, precision_words)
    assert words.endswith("in 2 its rounding could not be certified.")


def test_without_verdicts_and_outer_steps_nothing_is_said(tmp_path: Path) -> None:
    results = written(tmp_path)
    del results["methods"][0]["signal"]
    (tmp_path / "outer_steps.csv").unlink()
    words = Page(write_report(change(tmp_path, results))).text
    assert "Is there anything to learn" not in words
    assert "computed again in float64" not in words


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop(), "must be a list of 3 objects or nulls"),
        (lambda s: s.__setitem__(0, 1.0), "must be a list of 3 objects or nulls"),
        (lambda s: s[0].pop("p"), "signal lacks 'p'"),
        (lambda s: s[0].update(told="two"), "'told' must be of type int; got 'two'"),
        (lambda s: s[0].update(more=[1]), "must be lists of labels"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Any, message: str) -> None:
    results = written(tmp_path)
    damage(results["methods"][0]["signal"])
    with pytest.raises(ReportError, match=message):
        report_facts(change(tmp_path, results))


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "outer_steps.csv").write_text("method,seed\n")
    with pytest.raises(ReportError, match=r"outer_steps\.csv lacks the columns"):
        report_facts(tmp_path)

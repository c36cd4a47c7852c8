"""The examples keep what they promise: with small budgets, on fixed seeds."""

import importlib.util
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = ["multi_task_before.py", "multi_task.py", "noisy_labels.py"]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hunks(diff: str) -> list[str]:
    return re.split(r"^(?=@@)", diff, flags=re.MULTILINE)[1:]


def patched(before: str, diff: str) -> str:
    """`before` with `diff` applied, every context line in its place."""
    lines, shift = before.splitlines(keepends=True), 0
    for hunk in hunks(diff):
        head, *body = hunk.splitlines(keepends=True)
        old, new = ([line[1:] for line in body if line[0] in kinds] for kinds in (" -", " +"))
        start = int(head.split(",")[0].removeprefix("@@ -")) - 1 + shift
        assert lines[start : start + len(old)] == old
        lines[start : start + len(old)] = new
        shift += len(new) - len(old)
    return "".join(lines)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_learned_weights_beat_equal_ones_and_the_target_alone():
    before, after = load("multi_task_before.py"), load("multi_task.py")
    learned, equal, alone = [], [], []
    for seed in range(3):
        result = after.train(seed, epochs=30)
        assert min(result["helper A"], result["helper B"]) > max(result["rival A"], result["rival B"])
        learned.append(result["test error"])
        equal.append(before.train(seed, epochs=30)["test error"])
        alone.append(before.train(seed, epochs=30, weights=(1.0, 0.0, 0.0, 0.0, 0.0))["test error"])
        assert learned[-1] < 0.75 * equal[-1]
    assert sum(learned) < 0.5 * sum(equal)
    assert sum(learned) < 0.9 * sum(alone), (learned, alone)


def test_multi_task_depends_on_the_seed_only():
    first, again, other = (load("multi_task.py").train(seed, epochs=2) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_without_learning_both_trainings_are_the_same():
    start = (0.5, 0.5, 0.5, 0.5, 0.5)
    before, after = (load(name).train(0, epochs=0, weights=start) for name in ("multi_task_before.py", "multi_task.py"))
    assert before == after


def test_the_diff_is_up_to_date_and_short():
    names = ("multi_task_before.py", "multi_task.py", "multi_task.diff")
    before, after, diff = ((EXAMPLES / name).read_text(encoding="utf-8") for name in names)
    assert patched(before, diff) == after, "renew it: cd examples; diff -u multi_task_before.py multi_task.py"
    _docstring, *code = hunks(diff)
    assert len([line for hunk in code for line in hunk.splitlines() if re.match(r"\+.", line)]) <= 7


def test_weights_of_wrong_labels_fall():
    result = load("noisy_labels.py").main(seed=0, epochs=10)
    assert result["AUC of the weights, correct against wrong"] > 0.9
    assert result["test accuracy, learned weights"] > result["test accuracy, equal weights"] + 0.03


def test_noisy_labels_depends_on_the_seed_only():
    budget = {"seed": 1, "epochs": 2, "examples": 200, "clean": 50}
    assert load("noisy_labels.py").main(**budget) == load("noisy_labels.py").main(**budget)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert not end.value.code
    assert "--seed" in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS)
def test_main_prints_its_numbers(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--epochs", "1"])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert "test" in capsys.readouterr().out

"""What the page says of several trainings follows from the same rule as what `Signal` says of one."""

from types import SimpleNamespace
from typing import Any

import pytest

from bilevel_hpo.report import ReportError
from bilevel_hpo.report._signal_words import signal_words
from bilevel_hpo.report._verdict import verdicts_of
from bilevel_hpo.signal import conclusion

RECORD: dict[str, Any] = {"told": 0, "tested": 3, "p": 0.4, "level": 0.05, "steps": 10, "more": [], "less": []}


def words(*changes: dict[str, Any]) -> str:
    verdicts = verdicts_of([RECORD | change for change in changes], len(changes), "signal")
    method: Any = SimpleNamespace(seeds=range(len(changes)), verdicts=verdicts, lambda_=None, title="learned")
    (said,) = signal_words(SimpleNamespace(methods=[method]), method)
    return said


@pytest.mark.parametrize(
    ("effective", "end"),
    [
        ([30.0], "constant λ, or a search over a few, would do as well."),
        ([3.0], "That says nothing for or against learning λ."),
        ([3.0, 7.9], "That says nothing for or against learning λ."),
        ([3.0, 8.0], "would do as well."),
        ([None], "can be told from chance."),
        ([None, 3], "That says nothing for or against learning λ."),
    ],
)
def test_few_steps_say_nothing_against_learning(effective, end):
    said = words(*({"effective_steps": steps} for steps in effective))
    assert said.endswith(end)
    assert ("would do as well" in said) == (max(steps or 0.0 for steps in effective) >= 8)


def test_a_record_from_before_opens():
    assert verdicts_of([RECORD], 1, "signal")[0].effective_steps is None
    assert words({}).endswith("Nothing that the training did with λ can be told from chance.")


def test_a_damaged_number_is_named():
    with pytest.raises(ReportError, match="effective_steps must be a number or null; got 'many'"):
        verdicts_of([RECORD | {"effective_steps": "many"}], 1, "signal")


def test_the_lambda_that_are_told_come_most_often_first():
    said = words({"told": 2, "more": ["a"], "less": ["b"]}, {"told": 1, "less": ["b"]}, {"p": 0.01})
    assert said.endswith("Told from chance: b (less, 2 of 3), a (more, 1 of 3).")
    assert words({"p": 0.01}).endswith("these outer steps do not say from which λ.")


def test_a_long_list_is_cut():
    assert conclusion([str(i) for i in range(9)], True, None) == "Told from chance: 0, 1, 2, 3, 4, 5 and 3 more λ."
    assert conclusion([str(i) for i in range(6)], True, None).endswith("4, 5.")

"""The test of the hypergradients of learned methods, and their precision, in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._words import count, listed, titled
from bilevel_hpo.signal import Verdict, conclusion

__all__ = ["precision_words", "signal_words"]


def signal_words(facts: ReportFacts, shown: MethodFacts) -> Iterator[str]:
    """Yields a paragraph per method with verdicts, with its title unless it is the main method of the page."""
    for method in facts.methods:
        pairs = zip(method.seeds, method.verdicts, strict=True)
        verdicts = {seed: verdict for seed, verdict in pairs if verdict is not None}
        if verdicts:
            asked = (
                "Is there anything to learn?" if method is shown else f"Is there anything to learn, {titled(method)}?"
            )
            yield " ".join([asked, _counts(method, verdicts), _what(method, list(verdicts.values()))])


def precision_words(facts: ReportFacts, shown: MethodFacts) -> Iterator[str]:
    """Yields in how many outer steps float32 was not enough; nothing for an estimator without a check."""
    steps = facts.files.outer_steps
    if steps is None:
        return
    for method in facts.methods:
        rows = steps[steps["method"] == method.name]
        uncertified = int((rows["certified"] == "False").sum())
        if rows["certificate"].notna().any() or uncertified:
            again = int((rows["computed_in"] == "float64").sum())
            subject = "" if method is shown else f"{method.title}: "
            yield (
                f"{subject}In {again} of {count(len(rows), 'outer step')} the hypergradient was computed again in "
                f"float64, and in {uncertified} its rounding could not be certified."
            )


def _counts(method: MethodFacts, verdicts: Mapping[int, Verdict]) -> str:
    found = list(verdicts.values())
    one = len(found) == 1
    counts = [f"{verdict.told} of {verdict.tested}" for verdict in found]
    same = len(set(counts)) == 1
    tested = {verdict.tested for verdict in found}
    if same or len(tested) > 1:
        told = counts[0] if same else listed(counts)
    else:
        told = f"{listed([str(verdict.told) for verdict in found])} of {tested.pop()}"
    steps = listed(sorted({str(verdict.steps) for verdict in found}))
    seeds = f" ({'each of ' if same else ''}seeds {listed([str(seed) for seed in verdicts])})"
    lambda_ = method.lambda_
    matrix = lambda_ is not None and lambda_.matrix is not None
    direct = matrix and lambda_ is not None and max(verdict.tested for verdict in found) > len(lambda_.names)
    return (
        f"{told} λ{', direct paths included,' if direct else ''} can be told from chance{'' if one else seeds}, in "
        f"{steps} outer steps{'' if one else ' each'}, at a level of {100 * found[0].level:g} % for all of them; all λ "
        f"together: p {listed([_p(verdict.p) for verdict in found])}."
    )


def _what(method: MethodFacts, verdicts: Sequence[Verdict]) -> str:
    named = [(label, "more") for each in verdicts for label in each.more]
    named += [(label, "less") for each in verdicts for label in each.less]
    times = Counter(named)
    told = [
        f"{_path(method, label)} ({way}{f', {times[label, way]} of {len(verdicts)}' if len(verdicts) > 1 else ''})"
        for label, way in sorted(times, key=lambda each: -times[each])
    ]
    known = [verdict.effective_steps for verdict in verdicts if verdict.effective_steps is not None]
    return conclusion(told, any(verdict.anything for verdict in verdicts), max(known, default=None))


def _path(method: MethodFacts, label: str) -> str:
    if method.lambda_ is None or method.lambda_.matrix is None:
        return label
    source, _, target = label.partition("->")
    return f"direct path of {target}" if source == target else f"{source} → {target}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"

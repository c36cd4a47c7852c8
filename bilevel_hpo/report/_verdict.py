"""The test of a training's hypergradients, as the record keeps it."""

from collections.abc import Mapping
from typing import Any

from bilevel_hpo.report._files import ReportError, check
from bilevel_hpo.signal import Verdict

__all__ = ["verdicts_of"]


_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "told": int,
    "tested": int,
    "p": (int, float),
    "level": (int, float),
    "steps": int,
    "more": list,
    "less": list,
}


def verdicts_of(found: Any, seeds: int, where: str) -> tuple[Verdict | None, ...]:
    """Returns one verdict per seed; None if there is none.

    Raises:
        ReportError: `found` is not a list of verdicts, one per seed.
    """
    if found is None:
        return (None,) * seeds
    if not isinstance(found, list) or len(found) != seeds or not all(isinstance(each, dict | None) for each in found):
        raise ReportError(f"{where} must be a list of {seeds} objects or nulls; got {found!r}")
    return tuple(None if each is None else _verdict(each, where) for each in found)


def _verdict(found: dict[str, Any], where: str) -> Verdict:
    check(found, _KEYS, where)
    if not all(isinstance(label, str) for label in (*found["more"], *found["less"])):
        raise ReportError(
            f"{where}: more and less must be lists of labels; got {found['more']!r} and {found['less']!r}"
        )
    if not isinstance(found.get("effective_steps"), float | int | None):
        raise ReportError(f"{where}: effective_steps must be a number or null; got {found['effective_steps']!r}")
    values: dict[str, Any] = {key: tuple(found[key]) if isinstance(found[key], list) else found[key] for key in _KEYS}
    return Verdict(**values, effective_steps=found.get("effective_steps"))

"""One self-contained HTML page from the files of a run folder, for any model and any metric.

`write_report(folder)` writes it; `report_facts(folder)` returns its numbers. An adapter adds sections of its own,
made of the records here and read with the same checks.
"""

from bilevel_hpo.report._facts import MethodFacts, Metric, ReportFacts, per_task, report_facts
from bilevel_hpo.report._files import ReportError, check, numbers, read_table
from bilevel_hpo.report._lambda import LambdaFacts
from bilevel_hpo.report._page import write_report
from bilevel_hpo.report._parts import Cell, Column, Fold, Gallery, PageFigure, PageTable, Section, Soft
from bilevel_hpo.report._tables import task_table
from bilevel_hpo.report._words import label, plus_minus, seconds, titled

__all__ = [
    "Cell",
    "Column",
    "Fold",
    "Gallery",
    "LambdaFacts",
    "MethodFacts",
    "Metric",
    "PageFigure",
    "PageTable",
    "ReportError",
    "ReportFacts",
    "Section",
    "Soft",
    "check",
    "label",
    "numbers",
    "per_task",
    "plus_minus",
    "read_table",
    "report_facts",
    "seconds",
    "task_table",
    "titled",
    "write_report",
]

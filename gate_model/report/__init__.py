"""One self-contained HTML page from the files of a run folder."""

from gate_model.report._facts import Difference, MethodFacts, ReportFacts, report_facts
from gate_model.report._files import ReportError
from gate_model.report._page import write_report

__all__ = ["Difference", "MethodFacts", "ReportError", "ReportFacts", "report_facts", "write_report"]

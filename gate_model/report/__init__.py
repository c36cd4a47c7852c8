"""The report page of a run of GATE: the engine's page with predictions, units and data added."""

from bilevel_hpo.report import ReportError, ReportFacts, report_facts
from gate_model.report._page import write_report

__all__ = ["ReportError", "ReportFacts", "report_facts", "write_report"]

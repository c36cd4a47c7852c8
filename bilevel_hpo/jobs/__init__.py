"""Run many jobs on any executor; each gives exactly one result, whatever happens to the processes in between."""

from bilevel_hpo.jobs._drive import drive
from bilevel_hpo.jobs._plan import Plan
from bilevel_hpo.jobs._start import On, workers
from bilevel_hpo.jobs._workers import Workers, WorkersLostError

__all__ = ["On", "Plan", "Workers", "WorkersLostError", "drive", "workers"]

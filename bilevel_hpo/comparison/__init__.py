"""Learned λ against constant and searched λ, for any model: one training function, one folder, one report."""

from bilevel_hpo.comparison._answers import Answers, Progress, run_methods
from bilevel_hpo.comparison._axes import Axes
from bilevel_hpo.comparison._best_of import BestOf
from bilevel_hpo.comparison._compare import Comparison, compare, default_methods, equal
from bilevel_hpo.comparison._constant import Constant, Frozen
from bilevel_hpo.comparison._fixed import FixedWeights
from bilevel_hpo.comparison._how import Grid, Proposals
from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.comparison._learned import Learned
from bilevel_hpo.comparison._plans import OneTraining
from bilevel_hpo.comparison._record import write_record
from bilevel_hpo.comparison._run import Run
from bilevel_hpo.comparison._scores import Metric, Scores
from bilevel_hpo.comparison._searched import Searched
from bilevel_hpo.comparison._searches import best_constant, gp, grid, random, tpe
from bilevel_hpo.comparison._setting import Answer, Bundle, Method, MethodPlan, Setting, Trial
from bilevel_hpo.comparison._single import Single
from bilevel_hpo.comparison._store import read_trained
from bilevel_hpo.comparison._trainer import Together, Training
from bilevel_hpo.comparison._verdict import OUTER_STEP_COLUMNS, outer_steps_of, verdict_of

__all__ = [
    "OUTER_STEP_COLUMNS",
    "Answer",
    "Answers",
    "Axes",
    "BestOf",
    "Bundle",
    "Comparison",
    "Constant",
    "FixedWeights",
    "Frozen",
    "Grid",
    "Job",
    "Learned",
    "Method",
    "MethodPlan",
    "Metric",
    "OneTraining",
    "Progress",
    "Proposals",
    "Run",
    "Scores",
    "Searched",
    "Setting",
    "Single",
    "Together",
    "Trained",
    "Training",
    "Trial",
    "best_constant",
    "compare",
    "default_methods",
    "equal",
    "gp",
    "grid",
    "outer_steps_of",
    "random",
    "read_trained",
    "run_methods",
    "tpe",
    "verdict_of",
    "write_record",
]

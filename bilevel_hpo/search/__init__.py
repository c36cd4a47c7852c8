"""Optuna over the same λ: grid and TPE, resumable, with the learned λ beside the trials."""

from bilevel_hpo.search._study import grid, record, tpe

__all__ = ["grid", "record", "tpe"]

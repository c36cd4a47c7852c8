"""Trainings of GATE."""

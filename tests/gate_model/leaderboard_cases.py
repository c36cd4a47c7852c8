"""What several tests of the leaderboard share."""

from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._answer import Assignment
from gate_model.training.settings import Settings

SHORT = Settings(epochs=2)


def assignment(data: PreparedData, settings: Settings = SHORT) -> Assignment:
    """With seed 0."""
    return Assignment(data, settings, 0)

"""Optuna's own tests of samplers, those for one objective, over HypergradientSampler."""

from typing import Any

import pytest

from bilevel_hpo.search import HypergradientSampler

suite: Any = pytest.importorskip("optuna.testing.pytest_samplers", reason="this Optuna does not ship its sampler tests")


@pytest.mark.filterwarnings("ignore:.*'hypergradient'")
class TestHypergradientSampler(
    suite.BasicSamplerTestCase,
    suite.RelativeSamplerTestCase,
    suite.SingleOnlySamplerTestCase,
):
    @pytest.fixture
    def sampler(self):
        return HypergradientSampler

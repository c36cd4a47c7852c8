"""Optuna's own tests of samplers, those for one objective, over HypergradientSampler."""

import pytest

from bilevel_hpo.search import HypergradientSampler

suite = pytest.importorskip("optuna.testing.pytest_samplers", reason="this Optuna does not ship its sampler tests")


@pytest.mark.filterwarnings("ignore:.*'hypergradient'")
class TestHypergradientSampler(
    suite.BasicSamplerTestCase,
    suite.RelativeSamplerTestCase,
    suite.SingleOnlySamplerTestCase,  # type: ignore[name-defined]
):
    @pytest.fixture
    def sampler(self):
        return HypergradientSampler

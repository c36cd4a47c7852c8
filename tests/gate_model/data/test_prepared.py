"""Standardised labels."""

import numpy as np

from gate_model.data.prepared import Standardizer

RNG = np.random.default_rng(0)


def test_standardizer_uses_the_labels_it_is_given_and_inverts() -> None:
    labels = RNG.normal(5, 3, (50, 3))
    labels[::4, 1] = np.nan
    scale = Standardizer.fit(labels)
    z = scale.transform(labels)
    np.testing.assert_allclose(np.nanmean(z, 0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(z, 0), 1, atol=1e-12)
    np.testing.assert_allclose(Standardizer.from_dict(scale.to_dict()).inverse(z), labels)

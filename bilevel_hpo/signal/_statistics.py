"""Tests of a mean over few, dependent steps: cosine coefficients, whitened, and rotations of them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "adjusted", "coefficients", "contrasts", "rotation_p", "simes", "student"]

Array = NDArray[np.float64]


def coefficients(x: Array) -> Array:
    """Returns the mean of n steps and the low-frequency coefficients that are needed to test it.

    Rows 0 … ν of the cosine transform of `x` along the steps: row 0 is √n times the mean, row j is
    √(2/n) Σ_i x_i cos(πj(i + ½)/n), and ν = max(3, ⌊n^(2/3) / 2⌋). If the mean of `x` is 0, all rows have (nearly) the
    same variance, the long-run variance of the steps, and hardly depend on one another, whatever the short-range
    dependence of the steps: the "equal-weighted cosine" estimator (Lazarus, Lewis, Stock, Watson, "HAR Inference:
    Recommendations for Practice", JBES 2018). A drift of the mean enters rows 1 … ν and so counts as noise.

    Slow dependence makes rows 1 … ν smaller than row 0. Each is divided by the root of f(ω_j)/f(0), the shape of its
    spectrum (`_spectrum`).

    Args:
        x: `[n, N]`, n ≥ 8.

    Returns:
        `[ν + 1, N]`.
    """
    n = len(x)
    count = max(3, int(0.5 * n ** (2 / 3)))
    orders = np.arange(1, count + 1)
    basis = np.sqrt(2 / n) * np.cos(np.pi * np.outer(orders, np.arange(n) + 0.5) / n)
    return np.vstack([x.sum(0) / np.sqrt(n), basis @ x / np.sqrt(_spectrum(x, orders))])


def contrasts(x: Array, cluster: NDArray[np.int64]) -> Array:
    """The mean over clusters and the differences between them: rows that have one variance if the mean is 0.

    Args:
        x: `[n, N]`.
        cluster: the cluster of each step, `[n]`; V different ones.

    Returns:
        `[V, N]`: row 0 is √V times the mean of the clusters' means, the others are orthonormal contrasts of them.
    """
    means = np.stack([x[cluster == label].mean(0) for label in np.unique(cluster)])
    n = len(means)
    basis = np.sqrt(2 / n) * np.cos(np.pi * np.outer(np.arange(n), np.arange(n) + 0.5) / n)
    basis[0] = 1 / np.sqrt(n)
    return np.asarray(basis @ means)


def student(rows: Array) -> tuple[Array, Array]:
    """Tests row 0 against the root mean square of the others: t and its two-sided p, `[N]` each, with one degree of
    freedom per other row; t = ±∞ where the others are 0, and 0 where row 0 is."""
    from scipy import special  # noqa: PLC0415  a gradient needs no p-value

    noise = np.sqrt(np.square(rows[1:]).mean(0))
    t = np.divide(rows[0], noise, out=np.sign(rows[0]) * np.inf, where=noise > 0)
    t[rows[0] == 0] = 0.0
    return t, 2 * special.stdtr(len(rows) - 1, -np.abs(t))


def rotation_p(rows: Array) -> float:
    """Returns p of "row 0 is a row like the others", for all N columns together.

    The statistic is Σ_k rows[0, k]² / Σ_j rows[j, k]². Rows that are independent Gaussian vectors of one distribution,
    with any covariance between the N columns, keep their distribution when they are rotated among themselves; p is the
    share of all rotations whose row 0 has a statistic at least as large. For any N, larger than the number of rows too
    (rotation test: Langsrud, "Rotation tests", Statistics and Computing 2005). With N = 1 it is the p of `student`.

    A rotation's row 0 is uᵀ·rows with u uniform on the sphere, its statistic uᵀGu with the Gram matrix G of the
    normalised columns; p = P(Σ μ_i z_i² ≥ 0) with z standard normal and μ the eigenvalues of G − G₀₀. It is found by
    Imhof's integral ("Computing the distribution of quadratic forms", Biometrika 1961, Eq. 3.2), whose integrand is
    analytic in log u: the trapezoidal rule reaches the rounding of float64.
    """
    rows = rows[:, rows.any(0)]
    if rows.shape[1] == 0:
        return 1.0
    normalised = rows / np.sqrt(np.square(rows).sum(0))
    gram = normalised @ normalised.T
    roots = np.linalg.eigvalsh(gram) - gram[0, 0]
    roots = roots / np.abs(roots).max()
    step = 0.1
    u = np.exp(np.arange(-45.0, 45.0, step))
    angle = 0.5 * np.arctan(u[:, None] * roots).sum(1)
    log_rho = 0.25 * np.log1p(np.square(u[:, None] * roots)).sum(1)
    p = 0.5 + step / np.pi * float((np.sin(angle) * np.exp(-log_rho)).sum())
    return min(max(p, 0.0), 1.0)


def simes(p: Array) -> Array:
    """Returns one p for each column of `p` `[m, N]`, m tests of one hypothesis: min_i m·p_(i)/i over the sorted p
    (Simes, Biometrika 1986); it keeps its level for independent and for positively dependent tests."""
    m = len(p)
    return np.asarray((np.sort(p, 0) * (m / np.arange(1, m + 1))[:, None]).min(0))


def adjusted(p: Array, correction: str) -> Array:
    """Returns p `[N]` corrected for N tests.

    "holm": the chance of one false alarm or more among all N stays below the level, however the tests depend (Holm,
    1979). "bh": the expected share of false alarms among those told stays below the level, for independent tests
    (Benjamini and Hochberg, 1995).
    """
    n = len(p)
    order = np.argsort(p, kind="stable")
    if correction == "holm":
        stepped = np.maximum.accumulate(p[order] * np.arange(n, 0, -1))
    else:
        stepped = np.minimum.accumulate((p[order] * n / np.arange(1, n + 1))[::-1])[::-1]
    result = np.empty(n)
    result[order] = np.minimum(stepped, 1.0)
    return result


def _spectrum(x: Array, orders: NDArray[np.int64]) -> Array:
    """f(ω_j) / f(0), at most 1, of every column at ω_j = πj/n, `[ν, N]`.

    AR(1) processes are fitted to the steps and to means of 2, 4, 8, … steps, as long as 20 of these remain (slow noise
    under fast noise shows only in means); the least ratio counts. The first autocorrelation is corrected for its bias,
    and is the column's own or the mean of all columns, whichever is larger.
    """
    n = len(x)
    ratio = np.ones((len(orders), x.shape[1]))
    block = 1
    while block == 1 or n // block >= 20:
        means = x[n % block :].reshape(-1, block, x.shape[1]).mean(1)
        deviation = means - means.mean(0)
        power = np.square(deviation).sum(0)
        lagged = (deviation[1:] * deviation[:-1]).sum(0)
        r = np.divide(lagged, power, out=np.zeros_like(power), where=power > 0)
        phi = np.clip(r + (1 + 4 * r) / len(means), 0.0, 0.97)  # Kendall's bias, to first order in 1/n
        phi = np.maximum(phi, phi.mean())
        omega = np.minimum(np.pi * orders * block / n, np.pi)[:, None]
        ratio = np.minimum(ratio, np.square(1 - phi) / (1 - 2 * phi * np.cos(omega) + np.square(phi)))
        block *= 2
    return ratio

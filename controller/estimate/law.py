"""Learning the step law of a variant online: a Gaussian belief, updated by each window's mean step time.

The mean inter-token latency of a window is the mean step time as tokens saw it; counters give the mean step's
composition (prompt tokens, sequences, context). One window is one noisy linear observation of the five terms, so
the belief is updated as a Kalman filter with a slowly growing covariance (the card, the driver or the model's
code may change). Plain Python arithmetic, in an order written out: no numeric library's choice of instructions has a
say, and what is learned replays bit for bit under the same build of Python and of the C library's mathematics.
"""

from __future__ import annotations

import math

from controller.model.copies import replace
from controller.model.memory import LearnedLaw
from engine.profile import Grade, Profile, StepLaw

TERMS = 5
_COMMON_CV: dict[Grade, float] = {"measured": 0.05, "database": 0.12, "estimated": 0.3}
"""How far a whole profile may be off, by grade: kernel tables miss 2-8 %, served runs differ by 5-20 %."""
_TERM_CV_SHARE = 0.5
"""Each term may besides be off by this share of the common error."""
_NOISE_CV = 0.04
"""Error of a window's mean step time against the law (noise of the step and of the window's composition)."""
_DRIFT = 1.004
"""Growth of the covariance per update: half of the certainty is forgotten in about three minutes of 1 Hz data."""
_FLOOR_RATIO = 0.1
"""No term falls below this share of the prior: a term that data cannot tell from zero is still there."""

Row = tuple[float, float, float, float, float]
"""(1, P, A, B, K) of a mean step."""


def terms_of(law: StepLaw) -> Row:
    """The law as a vector (a, b, e, c, d)."""
    return (
        law.base_s,
        law.prefill_s_per_token,
        law.attention_s_per_token2,
        law.batch_s_per_seq,
        law.kv_s_per_token,
    )


def prior(profile: Profile) -> LearnedLaw:
    """The belief before any observation: the profile, as sure as its provenance."""
    mean = terms_of(profile.law)
    covariance = tuple(
        [mean[i] * mean[j] * _prior_ratio(profile, same=i == j) for i in range(TERMS) for j in range(TERMS)]
    )
    return LearnedLaw(profile=profile.name, mean=mean, covariance=covariance)


def _prior_ratio(profile: Profile, *, same: bool) -> float:
    """Covariance of two terms (or the variance of the same one) over the product of their means."""
    cv = _COMMON_CV[profile.provenance.grade]
    return cv * cv + ((cv * _TERM_CV_SHARE) ** 2 if same else 0.0)


def step_law(belief: LearnedLaw, scale: float = 1.0) -> StepLaw:
    """The believed law, all terms times `scale`."""
    a, b, e, c, d = (term * scale for term in belief.mean)
    return StepLaw(a, b, e, c, d)


def relative_error(belief: LearnedLaw, row: Row) -> float:
    """Standard error of the predicted step time at `row`, as a ratio of it."""
    predicted_s = _dot(belief.mean, row)
    variance = _dot(row, _times(belief.covariance, row))
    return math.sqrt(max(0.0, variance)) / predicted_s if predicted_s > 0 else math.inf


def updated(belief: LearnedLaw, row: Row, step_s: float, profile: Profile) -> LearnedLaw:
    """The belief after seeing that a mean step composed as `row` took `step_s` seconds.

    Returns the belief unchanged where the observation is impossible (not positive, not finite, or beyond reckoning).
    """
    if not (math.isfinite(step_s) and step_s > 0 and all(map(math.isfinite, row))):
        return belief
    covariance = tuple([value * _DRIFT for value in belief.covariance])
    leverage = _times(covariance, row)
    noise = (_NOISE_CV * step_s) ** 2
    innovation_variance = _dot(row, leverage) + noise
    surprise_s = step_s - _dot(belief.mean, row)
    gain = tuple([value / innovation_variance for value in leverage])
    floors = terms_of(profile.law)
    mean = tuple([max(_FLOOR_RATIO * floors[i], belief.mean[i] + gain[i] * surprise_s) for i in range(TERMS)])
    known = [share * term for share in gain for term in leverage]
    shrunk = tuple([before - less for before, less in zip(covariance, known, strict=True)])
    if not all(map(math.isfinite, (*mean, *shrunk))):
        return belief
    return replace(belief, mean=mean, covariance=_bounded(shrunk, profile), samples=belief.samples + 1)


def _bounded(covariance: tuple[float, ...], profile: Profile) -> tuple[float, ...]:
    """Forgetting must not grow a term's variance beyond its prior's: scale such rows and columns back."""
    variances = covariance[:: TERMS + 1]
    variance_ratio = _prior_ratio(profile, same=True)
    most = [term * term * variance_ratio for term in terms_of(profile.law)]
    if all(have <= limit for have, limit in zip(variances, most, strict=True)):
        return covariance
    scale = [
        math.sqrt(min(1.0, limit / have)) if have > 0 else 1.0 for have, limit in zip(variances, most, strict=True)
    ]
    return tuple([covariance[i * TERMS + j] * scale[i] * scale[j] for i in range(TERMS) for j in range(TERMS)])


def _dot(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    """Written out: it is the innermost loop, and `sum` rounds differently from Python 3.12 on."""
    a, b, c, d, e = left
    v, w, x, y, z = right
    return a * v + b * w + c * x + d * y + e * z


def _times(matrix: tuple[float, ...], vector: tuple[float, ...]) -> tuple[float, ...]:
    return tuple([_dot(matrix[start : start + TERMS], vector) for start in range(0, TERMS * TERMS, TERMS)])

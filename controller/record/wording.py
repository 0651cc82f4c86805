"""Numbers and instants as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.model.decision import Condition, ConditionStatus, Counts

UNKNOWN = "–"
_BAD_WHEN_TRUE = frozenset({"MemoryLost"})


def instant(at: float) -> str:
    """UTC to the second: 2026-01-01 00:00:05 UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float) -> str:
    """A length of time in its two greatest units: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def percent(ratio: float | None) -> str:
    """A ratio as a percentage with one decimal, cut and never rounded up: 0.9996 is no 100 %."""
    return UNKNOWN if ratio is None else f"{int(ratio * 1000 + 1e-9) / 10:.1f} %"


def number(value: float | None, unit: str = "", digits: int = 1) -> str:
    """A number with its unit."""
    text = UNKNOWN if value is None else f"{value:.{digits}f}"
    return f"{text} {unit}".rstrip()


def threshold(seconds: float) -> str:
    """An objective's threshold: 50 ms, 1 s."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def counts(replicas: Counts) -> str:
    """Replicas by variant: v1 3, v2 0."""
    return ", ".join(f"{name} {count}" for name, count in replicas) or "none"


def change(before: Counts, after: Counts) -> str:
    """From the one to the other: v1 3 → 5; just the number where it was kept."""
    if before == after:
        return counts(after)
    was = dict(before)
    return ", ".join(f"{n} {was[n]} → {c}" if was.get(n, c) != c else f"{n} {c}" for n, c in after)


def as_it_should_be(condition: Condition) -> bool:
    """Whether a condition gives no reason to look: True, for all but those named after a misfortune."""
    wanted = ConditionStatus.FALSE if condition.type in _BAD_WHEN_TRUE else ConditionStatus.TRUE
    return condition.status is wanted

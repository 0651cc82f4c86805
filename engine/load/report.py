"""The report of a run as a value, and as the JSON of `governor local --json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Write:
    """A change of replicas that was written, at `at` (UTC seconds)."""

    at: float
    variant: str
    before: int
    after: int
    reason: str = ""
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """What clients saw. Percentiles are by nearest rank; `ttft_p95_s` is None when over 5 % never got a token."""

    requests: int
    failed: int
    truncated: int
    unanswered: int
    interrupted: int
    attainment_ratio: float | None
    attainment_after_recovery_ratio: float | None
    ttft_p95_s: float | None
    tpot_p95_s: float | None
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Replicas:
    """Fleet sizes (starting + ready)."""

    start: int
    max: int
    end: int


@dataclass(frozen=True, slots=True)
class Host:
    """The machine during the run; None where the generator was killed before it said."""

    cpu_ratio: float | None
    loop_lag_p99_s: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """One run, judged: see `engine.load.judge` for the definitions. `decisions` counts holds too.

    `scenario` is the scenario's name, or the name of the trace's file. `duration_s` lasts from the first moment of the
    traffic until everything was ended: the wait for the last answers is in it, as it is in the replica-hours.
    """

    scenario: str
    engine: str
    metrics_source: str
    seed: int
    duration_s: float
    valid: bool
    invalid_reasons: tuple[str, ...]
    client: Client
    scale_up_delay_s: float | None
    recovery_s: float | None
    recovered: bool | None
    replicas: Replicas
    replica_hours: float
    replica_hours_static_peak: float
    decisions: int
    writes: tuple[Write, ...]
    host: Host

    def to_json(self) -> str:
        """Indented JSON, floats to the microsecond."""
        return json.dumps(_rounded(asdict(self)), indent=2, allow_nan=False) + "\n"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value

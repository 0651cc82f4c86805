"""Judges a run: from what clients saw, how many replicas there were and what was written, to one report. Pure.

Definitions, for arrivals at their scheduled times and objectives on TTFT and TPOT:

- A request is *inside* when it was answered completely, its TTFT (from the scheduled arrival) and its TPOT within their
  thresholds. Failed, truncated and unanswered ones are outside. One that was cut short from outside while it could
  still have been inside counts neither way.
- *Recovery*: the load's time is cut into windows of 10 s from its step on (the last may be shorter). The load has
  recovered at the end of the last window of whose requests less than 95 % were inside; `recovery_s` counts from the
  step, and is 0 when there is no such window. When that is the last window that saw arrivals, the load never recovered.
- *After recovery*: requests that arrive from then to the end of the load.
- *Replica-hours* are of everything that is paid for: starting, ready and draining. The static peak is the largest
  fleet (starting + ready) for the whole time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.load.quantiles import quantile
from engine.load.records import JudgedObjectives, RequestRecord, Results, Status
from engine.load.report import Client, Host, Replicas, Report, Write

WINDOW_S = 10.0
RECOVERED_RATIO = 0.95
MOST_LAG_S = 0.05


@dataclass(frozen=True, slots=True)
class FleetSize:
    """Replicas from the instant `at` (UTC seconds) on, until the next entry of the timeline."""

    at: float
    starting: int
    ready: int
    draining: int

    @property
    def size(self) -> int:
        """What serves or will serve."""
        return self.starting + self.ready

    @property
    def paid(self) -> int:
        """What costs."""
        return self.starting + self.ready + self.draining


@dataclass(frozen=True, slots=True)
class Run:
    """What there is to judge. `load_start_at` and `load_end_at` are UTC seconds; None where no load is marked."""

    scenario: str
    engine: str
    metrics_source: str
    seed: int
    objectives: JudgedObjectives
    results: Results
    timeline: Sequence[FleetSize]
    """By time; the first entry holds at the beginning."""
    writes: Sequence[Write]
    """Every change of replicas that was written, by time."""
    decisions: int
    """Decisions taken, holds included."""
    ended_at: float
    load_start_at: float | None = None
    load_end_at: float | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """`seconds` from the load's start; `recovered` False: never, while the load lasted."""

    seconds: float
    recovered: bool


def judge(run: Run) -> Report:
    """The report. Numbers that do not exist (no request, no load marked) are None."""
    recovery = _recovery_of(run)
    after = _after_recovery(run, recovery)
    end = run.results.end
    reasons = _invalid(run)
    return Report(
        scenario=run.scenario,
        engine=run.engine,
        metrics_source=run.metrics_source,
        seed=run.seed,
        duration_s=run.ended_at - run.results.start.started_at,
        valid=not reasons,
        invalid_reasons=reasons,
        client=_client(run.results.requests, after, run.objectives),
        scale_up_delay_s=scale_up_delay_s(run.writes, run.load_start_at),
        recovery_s=recovery.seconds if recovery else None,
        recovered=recovery.recovered if recovery else None,
        replicas=_replicas(run),
        replica_hours=replica_seconds(run.timeline, run.results.start.started_at, run.ended_at) / 3600,
        replica_hours_static_peak=_replicas(run).max * (run.ended_at - run.results.start.started_at) / 3600,
        decisions=run.decisions,
        writes=tuple(run.writes),
        host=Host(end.cpu_ratio, end.loop_lag_p99_s) if end else Host(None, None),
    )


def attainment_ratio(requests: Sequence[RequestRecord], objectives: JudgedObjectives) -> float | None:
    """Share of the decided requests that were inside; None of none."""
    decided = [request for request in requests if not request.undecided(objectives)]
    return sum(request.inside(objectives) for request in decided) / len(decided) if decided else None


def recovery_of(
    requests: Sequence[RequestRecord], objectives: JudgedObjectives, start_at: float, end_at: float
) -> Recovery | None:
    """When the load that lasted from `start_at` to `end_at` had recovered; None if nothing arrived then."""
    windows: dict[int, list[RequestRecord]] = {}
    for request in requests:
        if start_at <= request.scheduled_at < end_at:
            windows.setdefault(int((request.scheduled_at - start_at) // WINDOW_S), []).append(request)
    if not windows:
        return None
    shares = {window: attainment_ratio(arrived, objectives) for window, arrived in windows.items()}
    bad = [window for window, share in shares.items() if share is not None and share < RECOVERED_RATIO]
    if not bad:
        return Recovery(0.0, recovered=True)
    return Recovery(min((max(bad) + 1) * WINDOW_S, end_at - start_at), recovered=max(bad) < max(windows))


def scale_up_delay_s(writes: Sequence[Write], load_start_at: float | None) -> float | None:
    """From the load's start to the first write that adds replicas; None without either."""
    if load_start_at is None:
        return None
    return next((w.at - load_start_at for w in writes if w.at >= load_start_at and w.after > w.before), None)


def replica_seconds(timeline: Sequence[FleetSize], start_at: float, end_at: float) -> float:
    """Paid replicas summed over the time from `start_at` to `end_at`."""
    instants = [*(max(start_at, entry.at) for entry in timeline), end_at]
    return sum(
        entry.paid * max(0.0, min(until, end_at) - since)
        for entry, since, until in zip(timeline, instants, instants[1:], strict=False)
    )


def _recovery_of(run: Run) -> Recovery | None:
    if run.load_start_at is None or run.load_end_at is None:
        return None
    return recovery_of(run.results.requests, run.objectives, run.load_start_at, min(run.load_end_at, run.ended_at))


def _after_recovery(run: Run, recovery: Recovery | None) -> list[RequestRecord]:
    """Arrivals from recovery to the end of the load; none if it did not come."""
    if recovery is None or not recovery.recovered or run.load_start_at is None or run.load_end_at is None:
        return []
    since, until = run.load_start_at + recovery.seconds, run.load_end_at
    return [request for request in run.results.requests if since <= request.scheduled_at < until]


def _client(requests: Sequence[RequestRecord], after: Sequence[RequestRecord], objectives: JudgedObjectives) -> Client:
    count = {status: sum(request.status is status for request in requests) for status in Status}
    decided = [request for request in requests if not request.undecided(objectives)]
    # A first token that never came is later than any that did.
    ttfts = [float("inf") if r.first_token_s is None else r.first_token_s for r in decided]
    ttft_p95_s = quantile(ttfts, 0.95)
    return Client(
        requests=len(requests),
        failed=count[Status.FAILED],
        truncated=count[Status.TRUNCATED],
        unanswered=count[Status.UNANSWERED],
        interrupted=count[Status.INTERRUPTED],
        attainment_ratio=attainment_ratio(requests, objectives),
        attainment_after_recovery_ratio=attainment_ratio(after, objectives),
        ttft_p95_s=None if ttft_p95_s == float("inf") else ttft_p95_s,
        tpot_p95_s=quantile([tpot for r in decided if r.status is Status.OK and (tpot := r.tpot_s) is not None], 0.95),
        tokens_out=sum(request.tokens_out for request in requests),
    )


def _replicas(run: Run) -> Replicas:
    """Fleet sizes within the run: what stood before the traffic began counts as its start."""
    start_at = run.results.start.started_at
    begun = [entry.size for entry in run.timeline if entry.at <= start_at]
    later = [entry.size for entry in run.timeline if start_at < entry.at <= run.ended_at]
    seen = begun[-1:] + later
    return Replicas(seen[0], max(seen), seen[-1]) if seen else Replicas(0, 0, 0)


def _invalid(run: Run) -> tuple[str, ...]:
    """Why the run proves nothing, if so."""
    end = run.results.end
    if end is None:
        return ("the load generator left no closing record: it was killed before its end",)
    reasons = []
    if end.loop_lag_p99_s > MOST_LAG_S:
        reasons.append(
            f"the load generator was late: its timer's p99 lag was {end.loop_lag_p99_s * 1000:.0f} ms, "
            f"more than {MOST_LAG_S * 1000:.0f} ms; give the machine more CPU or lower the rate"
        )
    if not run.results.requests:
        reasons.append("no request was sent")
    return tuple(reasons)

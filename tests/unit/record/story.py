"""A quarter of an hour of one fleet as the board would be told it: a climb, cold starts, a burst, a fall, an outage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from controller.model.decision import Outcome, OutcomeStatus, Reason
from controller.model.fleet import Fleet
from controller.ports import CycleRecord
from tests.unit.record.cycles import T0, a_condition, a_cycle, a_decision, a_fleet, a_snapshot, an_outcome

CAPACITY_RPS = 4.4
COLD_START_CYCLES = 8


def arrivals(minute: float) -> float:
    """Requests/s: a floor, a climb to three times of it, a burst, a fall."""
    climb = 5.2 + 10.8 / (1 + math.exp(-(minute - 4.5) * 1.6)) - 8.0 / (1 + math.exp(-(minute - 11.5) * 2.2))
    return climb + (5.0 if 8.0 < minute < 8.8 else 0.0) + 0.5 * math.sin(minute * 9.0) + 0.3 * math.sin(minute * 23.0)


def told(fleet: Fleet | None = None, cycles: int = 180, at: float = T0) -> Iterator[tuple[CycleRecord, list[Outcome]]]:
    """Cycles every 5 s, each with what became of its writes."""
    fleet = fleet or a_fleet()
    ready, coming = 2, []
    for n in range(cycles):
        now, rps = at + 5 * n, arrivals(n / 12)
        ready += sum(1 for due in coming if due == n)
        coming = [due for due in coming if due > n]
        record, ready, ordered = _cycle(fleet, now, n, rps, ready, len(coming))
        coming += [n + COLD_START_CYCLES] * ordered
        yield record, [an_outcome(record, OutcomeStatus.APPLIED)] if record.plan.writes else []


def _cycle(fleet: Fleet, now: float, n: int, rps: float, ready: int, starting: int) -> tuple[CycleRecord, int, int]:
    need = max(2, math.ceil(rps / (CAPACITY_RPS * 0.9)))
    current, blind = ready + starting, 150 <= n < 156
    shrink = current > need and n % 24 == 0
    after = current if blind else max(current, need) if not shrink else current - 1
    over = rps / (ready * CAPACITY_RPS)
    share = max(0.72, 0.992 - max(0.0, over - 0.92) * 0.9 - 0.002 * (n % 3))
    snapshot = a_snapshot(
        fleet, now, ready, starting, 1 if n % 24 in (1, 2) and n > 130 else 0, rps, share, share - 0.004
    )
    signals = replace(
        snapshot.variants[0].signals,
        running=replace(snapshot.variants[0].signals.running, value=min(rps * 3.1, ready * 14.0)),
        waiting=replace(snapshot.variants[0].signals.waiting, value=max(0.0, (over - 0.97) * 60)),
    )
    snapshot = replace(snapshot, variants=(replace(snapshot.variants[0], signals=signals),))
    reason = Reason.BLIND if blind else Reason.DEMAND if after > current else _quiet(current, need, after)
    learned = CAPACITY_RPS + 0.6 * math.exp(-n / 40) * math.cos(n / 9)
    decision = a_decision(fleet, now, current, after, reason, _conditions(now, blind), _numbers(rps, learned, n))
    left = ready - (1 if shrink else 0)
    return a_cycle(fleet, now, snapshot=snapshot, decision=decision, before=current), left, max(0, after - current)


def _quiet(current: int, need: int, after: int) -> Reason:
    if after < current:
        return Reason.DEMAND
    return Reason.STABILISED if current > need else Reason.STEADY


def _conditions(now: float, blind: bool) -> list:  # noqa: FBT001
    status, message = ("False", "no sample of running, waiting for 24 s") if blind else ("True", "complete and fresh")
    return [
        a_condition("Ready", since=T0, message="every replica is ready"),
        a_condition("MetricsAvailable", status, now - 12, message),
    ]


def _numbers(rps: float, learned: float, n: int) -> dict[str, float]:
    return {
        "arrival_rps": rps,
        "sized_rps": rps * 1.12,
        "capacity_rps.v1": learned,
        "capacity_uncertainty_ratio.v1": 0.25 * math.exp(-n / 50) + 0.05,
        "cold_start_p90_s.v1": 46.0,
        "prompt_tokens": 812.4,
    }

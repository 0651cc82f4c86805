"""Demand: how many requests arrive, made of how many tokens, and how many more may arrive until a new replica helps.

Arrivals are not exposed by vLLM. Over a window, arrivals = completions + growth of requests in flight; requests that
clients abandon leave without a completion, so the count of first tokens is a second lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.model.copies import replace
from controller.model.memory import DemandPoint, FleetMemory, VariantMemory
from controller.model.snapshot import MOST, Reading, Snapshot, VariantState
from engine.perf import Mix

HISTORY_S = 120.0
LONG_S = 60.0
_SURGE_Z = 3.0
"""Arrivals this many standard deviations above the last minute's are a surge: sized by the newest numbers alone."""
_UPPER_Z = 1.645
"""Upper quantile (95 %) of what the demand may be, given the noise of counting."""
_DISPERSION = 1.5
"""Variance of arrivals in a window against Poisson's: 1.2-2 in the Azure conversation trace at 10-60 s."""
IDLE_RPS = 1e-3
"""Below one request in a quarter of an hour, demand counts as none."""
_MIX_REQUESTS = 400.0
"""Requests that the mean tokens of a request rest on: lengths scatter by 80 %, so that is a mean known to 4 %."""
_MIX_MIN_WEIGHT = 0.01
_MOST_TOKENS, _LEAST_TOKENS = 1e7, 0.1
"""No request is longer, and none gives less than a token: means beyond are of windows too short to tell."""
_FAST_MIN_S = 2.0
"""Samples are told to the second: over less than two, growth would be wrong by half."""
_TREND_MIN_POINTS = 6
_TREND_MIN_S = 30.0
"""Woken cycles are close together and their windows overlap: many points of a few seconds are no trend."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """Requests/s to size for, where they come from, and whether the newest window is above the last minute's noise."""

    rps: float
    how: str
    surge: bool


@dataclass(frozen=True, slots=True)
class Past:
    """The last minute before the newest window, and how far its trend is followed."""

    points: int
    mean_rps: float
    window_s: float
    span_s: float
    """From the beginning of the oldest window to now."""
    trend_rps_per_s: float
    horizon_s: float

    def sized(self, arrival_rps: float) -> Sizing:
        """What to size for if `arrival_rps` arrive now; more arrivals never give less.

        The upper quantile of what the demand may be; a forecast may raise it (at most to the double), never lower it.
        """
        surge, ebb = self._left_the_noise(arrival_rps)
        rps, ahead = self._ahead(arrival_rps, self._reactive_rps(arrival_rps, left=surge or ebb))
        if ahead:
            how = f"the trend {self.horizon_s:.0f} s ahead"
        elif surge or ebb:
            how = "the newest window, because it left the last minute's noise"
        else:
            how = f"the mean of the last {self.span_s:.0f} s"
        return Sizing(rps, how, surge)

    def sized_rps(self, arrival_rps: float) -> float:
        """The number of `sized` alone, for searches that ask for it many times."""
        left = any(self._left_the_noise(arrival_rps))
        return self._ahead(arrival_rps, self._reactive_rps(arrival_rps, left=left))[0]

    def _left_the_noise(self, arrival_rps: float) -> tuple[bool, bool]:
        """Whether the newest window is above (surge) or below (ebb) what both windows' counting noise explains."""
        if not self.points:
            return (False, False)
        usual = self.mean_rps
        both = math.hypot(_noise(usual, self.window_s), _noise(usual, self.span_s))
        if arrival_rps >= usual:
            return (arrival_rps > usual + _SURGE_Z * both, False)
        own = math.hypot(_noise(arrival_rps, self.window_s), both / 2)
        return (False, arrival_rps < usual - _SURGE_Z * own)

    def _reactive_rps(self, arrival_rps: float, *, left: bool) -> float:
        usual = self.mean_rps if self.points else arrival_rps
        if left:
            return arrival_rps + _noise(max(usual, arrival_rps), self.window_s)
        level = (usual * self.points + arrival_rps) / (self.points + 1)
        z = _UPPER_Z if self.span_s >= LONG_S / 2 else 1.0
        return level + z * _noise(level, self.span_s) if level >= IDLE_RPS else 0.0

    def _ahead(self, arrival_rps: float, reactive_rps: float) -> tuple[float, bool]:
        """The forecast where it is the greater number, and whether it is."""
        forecast_rps = min(arrival_rps + self.trend_rps_per_s * self.horizon_s, 2 * reactive_rps)
        ahead = self.trend_rps_per_s > 0 and forecast_rps > reactive_rps
        return (forecast_rps if ahead else reactive_rps), ahead

    def steady_rps(self, sized_rps: float) -> float:
        """The arrivals that, coming evenly for a minute, are sized as `sized_rps`."""
        noise = _UPPER_Z * math.sqrt(_DISPERSION / (self.window_s + LONG_S))
        root = (math.sqrt(noise * noise + 4 * max(0.0, sized_rps)) - noise) / 2
        return root * root


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests/s: measured now, over the last minute, and what to size for at the horizon; and why."""

    arrival_rps: float
    usual_rps: float
    sized_rps: float
    waiting: float
    running: float
    refused_rps: float
    surge: bool
    trend_rps_per_s: float
    how: str
    past: Past


def total(readings: list[Reading]) -> float | None:
    """Sum of the usable readings; None when none is."""
    values = [value for reading in readings if (value := reading.usable) is not None]
    return math.fsum(values) if values else None


def observe_mix(memory: VariantMemory, state: VariantState, interval_s: float) -> VariantMemory:
    """Smooth the mean tokens of a request from the window's counters; unchanged where nothing was counted."""
    signals = state.signals
    first, done = signals.first_token_rps.fresh, signals.finished_rps.fresh
    prefill, decode = signals.prefill_tps.fresh, signals.decode_tps.fresh
    cached = signals.cached_tps.fresh or 0.0
    if not first or prefill is None or decode is None:
        return memory
    served = max(first, done or 0.0)
    means = (prefill / first, cached / first, decode / served)
    if max(means) > _MOST_TOKENS or means[2] < _LEAST_TOKENS:
        return memory
    weight = max(_MIX_MIN_WEIGHT, first * interval_s / (first * interval_s + _MIX_REQUESTS))
    return replace(
        memory,
        prompt_tokens=_smooth(memory.prompt_tokens, means[0], weight),
        cached_tokens=_smooth(memory.cached_tokens, means[1], weight),
        output_tokens=_smooth(memory.output_tokens, means[2], weight),
    )


def _smooth(old: float | None, new: float, weight: float) -> float:
    return new if old is None else old + weight * (new - old)


def mix_of(memories: list[VariantMemory]) -> Mix | None:
    """The mix of the first variant that has seen traffic."""
    for memory in memories:
        if memory.prompt_tokens is not None and memory.output_tokens:
            return Mix(memory.prompt_tokens, memory.cached_tokens or 0.0, memory.output_tokens)
    return None


def observe_demand(memory: FleetMemory, snapshot: Snapshot) -> tuple[FleetMemory, DemandPoint | None]:
    """Add this cycle's demand to the history; None when no reading allows an estimate."""
    signals = [v.signals for v in snapshot.variants]
    finished = total([s.finished_rps for s in signals])
    first = total([s.first_token_rps for s in signals])
    inflight = snapshot.inflight.usable
    if inflight is None:
        inflight = total([r for s in signals for r in (s.running, s.waiting)])
    if finished is None and inflight is None and snapshot.refused_rps.usable is None:
        return memory, None
    refused = snapshot.refused_rps.usable or 0.0
    growth = _growth(snapshot)
    arrival = max(0.0, (finished or 0.0) + growth, first or 0.0, _fast(snapshot, finished or 0.0)) + refused
    point = DemandPoint(
        at=snapshot.at,
        arrival_rps=arrival,
        prefill_tps=total([s.prefill_tps for s in signals]) or 0.0,
        decode_tps=total([s.decode_tps for s in signals]) or 0.0,
        inflight=inflight or 0.0,
    )
    kept = tuple(p for p in memory.demand if snapshot.at - HISTORY_S <= p.at < snapshot.at)
    return replace(memory, demand=(*kept, point)[-60:]), point


def _growth(snapshot: Snapshot) -> float:
    now, before = snapshot.inflight.usable, snapshot.inflight_before.usable
    if now is None or before is None:
        return 0.0
    return (now - before) / snapshot.window_s


def _fast(snapshot: Snapshot, finished_rps: float) -> float:
    """Arrivals by the newest samples of the light query: completions plus the growth of requests in flight.

    Nobody knows at which sample a rise began, so the growth since each of them is looked at, one standard deviation
    on the safe side: over too long a span it is thinned by the time before, over too short a span its noise eats it.
    """
    points = snapshot.pressure
    if not all(0 <= value <= MOST for _, value in points):
        return 0.0
    return max((_grown_since(earlier, points[-1], finished_rps) for earlier in points[:-1]), default=0.0)


def _grown_since(earlier: tuple[float, float], newest: tuple[float, float], finished_rps: float) -> float:
    span_s = earlier[0] - newest[0]
    if span_s < _FAST_MIN_S:
        return 0.0
    rate = finished_rps + (newest[1] - earlier[1]) / span_s
    return rate - math.sqrt(max(rate, 0.0) * _DISPERSION / span_s) if rate > 0 else 0.0


def estimate_demand(memory: FleetMemory, snapshot: Snapshot, point: DemandPoint, horizon_s: float) -> Demand:
    """Size for the upper quantile of demand at the horizon, from the newest window and the last minute."""
    signals = [v.signals for v in snapshot.variants]
    points = [p for p in memory.demand if snapshot.at - LONG_S <= p.at < snapshot.at]
    past = Past(
        points=len(points),
        mean_rps=math.fsum(p.arrival_rps for p in points) / len(points) if points else 0.0,
        window_s=snapshot.window_s,
        span_s=snapshot.window_s + (snapshot.at - points[0].at if points else 0.0),
        trend_rps_per_s=_trend(points),
        horizon_s=horizon_s,
    )
    sizing = past.sized(point.arrival_rps)
    return Demand(
        arrival_rps=point.arrival_rps,
        usual_rps=past.mean_rps if points else point.arrival_rps,
        sized_rps=sizing.rps,
        waiting=total([s.waiting for s in signals]) or 0.0,
        running=total([s.running for s in signals]) or 0.0,
        refused_rps=snapshot.refused_rps.usable or 0.0,
        surge=sizing.surge,
        trend_rps_per_s=past.trend_rps_per_s,
        how=sizing.how,
        past=past,
    )


def _noise(rps: float, span_s: float) -> float:
    """Standard deviation of a rate counted over `span_s` seconds."""
    return math.sqrt(_DISPERSION * max(rps, 0.1) / span_s)


def _trend(points: list[DemandPoint]) -> float:
    """Least-squares slope of arrivals, less three of its standard errors; 0 where that is not positive.

    Three, because windows overlap: the errors of neighbouring points are correlated.
    """
    if len(points) < _TREND_MIN_POINTS or points[-1].at - points[0].at < _TREND_MIN_S:
        return 0.0
    n = len(points)
    mean_t = math.fsum(p.at for p in points) / n
    mean_y = math.fsum(p.arrival_rps for p in points) / n
    spread = math.fsum((p.at - mean_t) ** 2 for p in points)
    slope = math.fsum((p.at - mean_t) * (p.arrival_rps - mean_y) for p in points) / spread
    rest = math.fsum((p.arrival_rps - mean_y - slope * (p.at - mean_t)) ** 2 for p in points)
    error = math.sqrt(rest / (n - 2) / spread)
    return max(0.0, slope - 3 * error)

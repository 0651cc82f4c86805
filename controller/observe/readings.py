"""From tables to readings: which number of a variant may be trusted, and how far.

The rules, in this order: reported twice, from the future, negative, NaN or infinite is IMPLAUSIBLE; nobody said it is
ABSENT; too old, incomplete (replicas that are ready but silent), marked partial by the source, or a rate whose
window is not covered by samples is STALE; everything else is FRESH.
"""

from __future__ import annotations

from controller.model.fleet import Fleet
from controller.model.snapshot import ABSENT, Freshness, Reading, ReplicaPhase, ScaleTarget, VariantSignals
from controller.observe.observation import Key, Observation

FUTURE_TOLERANCE_S = 1.0
"""Clocks of scraped and scraping machines differ by less."""
GPU_STALE_AFTER_S = 60.0
"""The DCGM exporter collects every 30 s by default: its samples are stale no earlier than after two rounds."""
FINITE = 1.7e308
"""Greater than this is infinite."""
_SLACK = 1e-6
"""Rounding of ratios of sums of floats."""
_NOTHING = VariantSignals()
_FRESH, _STALE = Freshness.FRESH, Freshness.STALE
_INF = float("inf")


def implausible(detail: str, age_s: float | None = None) -> Reading:
    """A reading that was reported but cannot be."""
    return Reading(None, Freshness.IMPLAUSIBLE, age_s, detail)


def absent(detail: str) -> Reading:
    """A reading that nobody reported, with the reason where there is one."""
    return Reading(None, Freshness.ABSENT, None, detail) if detail else ABSENT


def _settled(target: ScaleTarget | None, seen: Observation, stale_after_s: float) -> int:
    """Ready replicas that were ready well before the window began: all of them must have been seen then."""
    if target is None or seen.at_s is None:
        return 0
    since = seen.at_s - seen.window_s - stale_after_s
    ready = target.in_phase(ReplicaPhase.READY)
    return sum(replica.ready_at is not None and replica.ready_at < since for replica in ready)


class VariantReadings:
    """One variant's view of the tables."""

    __slots__ = (
        "age_s",
        "counts",
        "fault",
        "impossible",
        "key",
        "rate_fault",
        "ready",
        "seen",
        "settled",
        "stale_after_s",
    )

    def __init__(self, seen: Observation, stale_after_s: float, key: Key, target: ScaleTarget | None) -> None:
        self.seen = seen
        self.stale_after_s = stale_after_s
        self.key = key
        self.ready = target.ready if target else 0
        self.settled = _settled(target, seen, stale_after_s)
        self.age_s = seen.legs["age"].rows.get(key)
        self.impossible = self._impossible()
        self.fault = self._fault()
        self.rate_fault = self.fault or self._uncovered()
        self.counts = target is None or self.ready > 0 or self.age_s is not None
        """Whether the variant's requests in flight are part of the fleet's: one at zero replicas has none."""

    def _impossible(self) -> str:
        legs, key = self.seen.legs, self.key
        if self.age_s is not None and not -FUTURE_TOLERANCE_S <= self.age_s <= FINITE:
            return f"the age of its samples is {self.age_s:.1f} s: they are from the future"
        engines, distinct = legs["engines"].rows.get(key), legs["distinct"].rows.get(key)
        if engines is not None and distinct is not None and distinct < engines:
            return f"duplicate series: {distinct:.0f} engines are reported {engines:.0f} times"
        return ""

    def _fault(self) -> str:
        legs, key = self.seen.legs, self.key
        if legs["age"].failed:
            return f"its age is not known: {legs['age'].failed}"
        if legs["age"].stale:
            return legs["age"].stale
        if self.age_s is not None and self.age_s > self.stale_after_s:
            return f"the oldest sample is {self.age_s:.1f} s old"
        replicas = legs["replicas"].rows.get(key, 0.0)
        if replicas < self.ready:
            return f"{replicas:.0f} of {self.ready} ready replicas report"
        return ""

    def _uncovered(self) -> str:
        """Rates over a window that no sample precedes are too low: the source has not seen all of it."""
        before = self.seen.legs["before_age"]
        age_s = before.rows.get(self.key)
        if before.failed:
            return f"it is not known whether samples cover the window: {before.failed}"
        if age_s is None or age_s > self.stale_after_s:
            return f"no sample from the start of the {self.seen.window_s:g} s window"
        then = self.seen.legs["before_replicas"].rows.get(self.key, 0.0)
        if then < self.settled:
            return f"{then:.0f} of {self.settled} replicas reported at the start of the {self.seen.window_s:g} s window"
        return ""

    def read(self, name: str, fault: str, most: float = FINITE) -> Reading:
        """The reading of one table, which must lie between 0 and `most`."""
        leg = self.seen.legs[name]
        value = leg.rows.get(self.key)
        if value is None:
            return absent(leg.failed)
        if self.key in leg.impossible:
            return implausible(leg.impossible[self.key], self.age_s)
        return self.judge(value, leg.stale or fault, most)

    def judge(self, value: float, fault: str, most: float = FINITE) -> Reading:
        """A reading of a number that somebody reported."""
        if self.impossible:
            return implausible(self.impossible, self.age_s)
        if not 0.0 <= value <= most:
            if most < value <= most + _SLACK:
                return self.judge(most, fault)
            return implausible(f"reported as {value}", self.age_s)
        if fault:
            return Reading(value, _STALE, self.age_s, fault)
        return Reading(value, _FRESH, self.age_s)

    def signals(self, fleet: Fleet) -> VariantSignals:
        """Everything about this variant."""
        if self.age_s is None and not self.ready and self.key not in self.seen.legs["running"].rows:
            return _NOTHING
        read, fault, rate_fault = self.read, self.fault, self.rate_fault
        first_token_rps, ttft_ratio = self.within("ttft", fleet.spec.objectives.ttft.threshold)
        return VariantSignals(
            engines=self.engines(),
            running=read("running", fault),
            waiting=read("waiting", fault),
            kv_usage_ratio=read("kv_avg", fault, 1.0),
            kv_usage_max_ratio=read("kv_max", fault, 1.0),
            kv_capacity_tokens=read("kv_capacity", fault),
            finished_rps=read("finished", rate_fault),
            first_token_rps=first_token_rps,
            ttft_within_ratio=ttft_ratio,
            tpot_within_ratio=self.within("tpot", fleet.spec.objectives.tpot.threshold)[1],
            itl_mean_s=self.itl_mean(),
            prefill_tps=self.prefill(),
            cached_tps=read("cached", rate_fault),
            decode_tps=read("generated", rate_fault),
            steps_per_s=read("steps", rate_fault),
            preemptions_per_s=read("preemptions", rate_fault),
            gpu_busy_ratio=self.gpu("gpu"),
            gpu_memory_ratio=self.gpu("gpu_memory"),
        )

    def engines(self) -> Reading:
        """Engines with a recent sample; 0 where all of them have fallen silent."""
        leg = self.seen.legs["engines"]
        if self.key in leg.rows or leg.failed:
            return self.read("engines", self.fault)
        if self.age_s is not None:
            return self.judge(0.0, self.fault)
        return absent(f"none of {self.ready} ready replicas reports")

    def within(self, name: str, threshold_s: float) -> tuple[Reading, Reading]:
        """Events per second of a histogram, and the share of them at or below a bucket edge."""
        leg = self.seen.legs[name]
        fault = leg.stale or self.rate_fault
        everything = (*self.key, _INF)
        total = leg.rows.get(everything)
        if total is None:
            return absent(leg.failed), absent(leg.failed)
        wrong = leg.impossible.get(everything)
        rate = implausible(wrong, self.age_s) if wrong else self.judge(total, fault)
        if rate.value is None:
            return rate, rate
        good = leg.rows.get((*self.key, threshold_s))
        if good is None:
            return rate, absent(f"the histogram has no bucket at {threshold_s:g} s")
        return rate, self.judge(good / total, fault, 1.0) if total else ABSENT

    def itl_mean(self) -> Reading:
        """Seconds per token; absent where no token was generated."""
        total, count = self.read("itl_sum", self.rate_fault), self.read("itl_count", self.rate_fault)
        if total.value is None or count.value is None:
            return count if count.value is None else total
        return self.judge(total.value / count.value, count.detail) if count.value else ABSENT

    def prefill(self) -> Reading:
        """Prompt tokens computed: those admitted less those found in a cache (which vLLM V0 does not count)."""
        prompt, cached = self.read("prompt", self.rate_fault), self.read("cached", self.rate_fault)
        if prompt.value is None or cached.freshness is Freshness.IMPLAUSIBLE:
            return cached if prompt.value is not None else prompt
        if cached.value is None:
            detail = cached.detail or prompt.detail or "prefix hits included: they are not counted"
            fault = Freshness.STALE if cached.detail else prompt.freshness
            return Reading(prompt.value, fault, self.age_s, detail)
        return Reading(max(0.0, prompt.value - cached.value), prompt.freshness, self.age_s, prompt.detail)

    def gpu(self, leg: str) -> Reading:
        """GPU utilisation or memory with its own age: DCGM is scraped apart."""
        age_s = self.seen.legs["gpu_age"].rows.get(self.key)
        reading = self.read(leg, self.fault, 1.0)
        if reading.value is None or age_s is None:
            return reading
        if age_s > max(self.stale_after_s, GPU_STALE_AFTER_S) and reading.freshness is Freshness.FRESH:
            return Reading(reading.value, Freshness.STALE, age_s, f"the oldest GPU sample is {age_s:.1f} s old")
        return Reading(reading.value, reading.freshness, age_s, reading.detail)

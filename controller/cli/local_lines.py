"""What `governor local` says while it runs where there is no terminal: changes of replicas, and a status at times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

STATUS_EVERY_S = 15.0


class PlainLines:
    """Lines that are due, by what was seen before. Times are monotonic seconds; the first call is second 0."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._status_due_s = STATUS_EVERY_S
        self._counts: dict[str, tuple[Any, ...]] = {}

    def due(self, now_s: float, client: Mapping[str, Any] | None, fleets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """A line for every variant whose replicas changed, and every 15 s one on traffic and replicas."""
        self._began_s = now_s if self._began_s is None else self._began_s
        elapsed_s = now_s - self._began_s
        variants = {f"{fleet['name']}/{v['name']}": v for fleet in fleets for v in fleet["figures"]["variants"]}
        for name, variant in variants.items():
            counts = tuple(variant[part] for part in ("ready", "starting", "draining", "desired"))
            if self._counts.get(name) != counts:
                self._counts[name] = counts
                yield f"{elapsed_s:5.0f} s  {name}: {_told(counts)}"
        if elapsed_s >= self._status_due_s:
            self._status_due_s += STATUS_EVERY_S * ((elapsed_s - self._status_due_s) // STATUS_EVERY_S + 1)
            yield f"{elapsed_s:5.0f} s  {_traffic(client)}; {_ready(variants)}"


def _told(counts: Sequence[int | None]) -> str:
    ready, starting, draining, desired = (("?" if count is None else str(count)) for count in counts)
    moving = [f"{starting} starting"] * (starting != "0") + [f"{draining} draining"] * (draining != "0")
    return f"{', '.join([f'{ready} ready', *moving])}; {desired} wanted"


def _traffic(client: Mapping[str, Any] | None) -> str:
    if client is None:
        return "no traffic"
    inside = client["window_attainment_ratio"]
    share = "nothing answered yet" if inside is None else f"{inside:.1%} inside the objectives (30 s)"
    return f"{client['offered_rps']:.1f} requests/s, {share}"


def _ready(variants: Mapping[str, Mapping[str, Any]]) -> str:
    if not variants:
        return "the daemon has not finished its first cycle"
    return ", ".join(f"{name} {'?' if v['ready'] is None else v['ready']} ready" for name, v in variants.items())

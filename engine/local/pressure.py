"""How many requests a replica has, from its metrics page."""

from __future__ import annotations

import math

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"


def load_of(page: str) -> float | None:
    """Running + waiting requests, summed over engines; None when the page does not give both as finite numbers.

    Reads only these two series of the page: it is asked for several times a second during a drain.
    """
    totals = {_RUNNING: math.nan, _WAITING: math.nan}
    for line in page.splitlines():
        name, brace, rest = line.partition("{")
        if not brace:
            name, _, rest = line.partition(" ")
        if name not in totals:
            continue
        try:
            value = float((rest.rpartition("}")[2] if brace else rest).split()[0])
        except (ValueError, IndexError):
            return None
        totals[name] = value if math.isnan(totals[name]) else totals[name] + value
    load = sum(totals.values())
    return load if math.isfinite(load) and load >= 0 else None

"""What would have changed the outcome, in the numbers that the operator can watch."""

from __future__ import annotations

import math

from controller.decide.proposal import Question
from controller.decide.sizing import drain_s, usable_rps
from controller.estimate.demand import Demand
from controller.model.decision import Counts


def of_demand(question: Question, demand: Demand, required: float, counts: Counts) -> tuple[str, ...]:
    """Sentences such as: 5 → 6 if waiting > 14 or arrival > 9.3/s; for a fleet with one serving variant.

    For several flavours the same in capacity: the mix that carries the fleet's demand changes with it.
    """
    scaling = question.fleet.spec.scaling
    serving = question.serving()
    rps = {n: usable_rps(question, n) for n in serving}
    wanted = dict(counts)
    carried = sum(wanted[n] * rps[n] for n in serving)
    texts = []
    if len(serving) == 1:
        name = serving[0]
        replicas, each = wanted[name], rps[name]
        texts.extend(_more(question, demand, required, replicas, carried, name))
        if replicas > question.bounds[name].min and each > 0:
            edge = (replicas - 1) * each
            quiet = f"for {scaling.stabilization.down:.0f} s" if scaling.stabilization.down else "at once"
            if edge > 0:
                texts.append(f"{replicas} → {replicas - 1} if demand stays below {edge:.1f} requests/s {quiet}")
    elif carried > 0:
        texts.append(f"another mix if demand > {carried:.1f} requests/s (sized for {required:.1f}/s)")
    return tuple(texts)


def _more(question: Question, demand: Demand, required: float, replicas: int, carried: float, name: str) -> list[str]:
    if replicas >= question.bounds[name].max:
        return [f"{replicas} is the most allowed: {replicas + 1} would take max > {question.bounds[name].max}"]
    spare = carried - required
    if spare < 0 or not math.isfinite(spare):
        return []
    waiting = demand.waiting + spare * drain_s(question)
    arrival = demand.arrival_rps + spare
    return [f"{replicas} → {replicas + 1} if waiting > {waiting:.0f} or arrival > {arrival:.1f}/s"]

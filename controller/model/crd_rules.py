"""The model's checks across fields, as rules that the API server itself applies to a Fleet, in the model's words.

One list of rules for each model, in the order in which the model checks. What only the daemon can check: a time
zone's name, for the server may lack the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from controller.model.buckets import TPOT_EDGES_S, TTFT_EDGES_S, edges_text
from controller.model.cel import Rule, filled, nanoseconds, none_of, quoted, rising, shown
from controller.model.fields import format_duration

_CONCERNED = "(!has(s.variant) || s.variant == v.name)"
_FLOOR = "self.variants.map(v, double(v.replicas.min) * v.costPerHour).sum()"
_PEAK = f"self.variants.map(v, double({_CONCERNED} ? s.min : v.replicas.min) * v.costPerHour).sum()"
_NAMES = "self.variants.map(v, v.name)"
_SAME_TARGET = " && ".join(
    f"w.scaleTargetRef.{field} == v.scaleTargetRef.{field}" for field in ("name", "kind", "apiVersion")
)

AT_MOST_A_YEAR = Rule(f"{nanoseconds('self')} <= {365 * 86_400 * 10**9}", "is above 365d; write at most 365d")
"""Of every duration."""
LATENCY_AT_MOST_A_YEAR = Rule('duration(self) <= duration("8760h")', "is above 8760h; write at most 8760h")
"""Of every duration that has no days."""
EDGES_RISE = Rule(rising("self", "duration({})"), "the edges do not rise; list the edges in rising order, each once")
"""Of every list of bucket edges."""


def rules() -> Mapping[str, tuple[Rule, ...]]:
    """Rules by the name of the model that they stand at."""
    return {
        "ReplicaBounds": (_ordered_bounds(),),
        "Objectives": (_at_an_edge("ttft", TTFT_EDGES_S), _at_an_edge("tpot", TPOT_EDGES_S)),
        "Thresholds": (_gap("gpu"), _gap("queue")),
        "Schedule": tuple(_schedule()),
        "Scaling": (_deadline_after_start(),),
        "Rollout": tuple(_rollout()),
        "Traffic": (_whole_traffic(),),
        "FleetSpec": tuple(_spec()),
    }


def _ordered_bounds() -> Rule:
    said = filled("%s is above max, which is %s; lower min or raise max", "string(self.min)", "string(self.max)")
    return Rule("self.min <= self.max", "min is above max; lower min or raise max", "min", said)


def _at_an_edge(name: str, edges_s: tuple[float, ...]) -> Rule:
    threshold, edges = f"self.{name}.threshold", f"self.{name}.bucketEdges"
    own = ", ".join(_literal(edge) for edge in edges_s)
    listed, plain = f"{edges}.exists(e, duration(e) == duration({threshold}))", f"duration({threshold}) in [{own}]"
    reason = f"is no bucket edge of the {name.upper()} histogram, so the share within it cannot be counted"
    one_of = filled("one of bucketEdges, %s", shown(edges))
    said = filled(f"%s {reason}; write %s", threshold, f"has({edges}) ? {one_of} : {_nearest(threshold, edges_s)}")
    return Rule(f"has({edges}) ? {listed} : {plain}", f"{reason}; write a bucket edge", f"{name}.threshold", said)


def _nearest(threshold: str, edges_s: tuple[float, ...]) -> str:
    """VLLM's own edges just below and just above: one text for each gap between two of them."""
    near = [edges_text(edges_s[:1]), *(edges_text(pair) for pair in pairwise(edges_s))]
    gaps = [f"t < {_literal(edge)} ? {quoted(text)}" for edge, text in zip(edges_s, near, strict=True)]
    chosen = " : ".join([*gaps, quoted(edges_text(edges_s[-1:]))])
    return f'[duration({threshold})].map(t, ({chosen}) + ", or list custom edges in bucketEdges")[0]'


def _literal(seconds: float) -> str:
    return f'duration("{format_duration(seconds)}")'


def _gap(signal: str) -> Rule:
    up, down = f"self.{signal}Up", f"self.{signal}Down"
    remedy = "leave a gap between the two, or the fleet grows and shrinks in turn"
    said = filled(f"%s is not above {signal}Down, which is %s; {remedy}", f"string({up})", f"string({down})")
    return Rule(f"{up} > {down}", f"is not above {signal}Down; {remedy}", f"{signal}Up", said)


def _schedule() -> Iterator[Rule]:
    begin, end = (f'(self.{field}.size() == 5 ? self.{field} + ":00" : self.{field})' for field in ("from", "to"))
    remedy = 'write another time; the whole day is "00:00" to "24:00"'
    yield Rule(
        f'{begin} == "00:00:00" || {begin} != {end}',
        f"equals from, so the window is empty; {remedy}",
        "to",
        filled(f"%s equals from, so the window is empty; {remedy}", "self.to"),
    )
    yield Rule("has(self.min) || has(self.max)", "changes nothing; give it min, max or both")
    yield Rule(
        "!has(self.min) || !has(self.max) || self.min <= self.max",
        "min is above max; lower min or raise max",
        "min",
        filled("%s is above max, which is %s; lower min or raise max", "string(self.min)", "string(self.max)"),
    )


def _deadline_after_start() -> Rule:
    reason, remedy = "every replica would be given up", "allow several times the expected start"
    return Rule(
        f"{nanoseconds('self.startDeadline')} > {nanoseconds('self.coldStart')}",
        f"is not longer than coldStart: {reason}; {remedy}",
        "startDeadline",
        filled(
            f"%s is not longer than coldStart, which is %s: {reason}; {remedy}", "self.startDeadline", "self.coldStart"
        ),
    )


def _rollout() -> Iterator[Rule]:
    canary = 'self.mode != "canary" || !has(self.steps)'
    remedy = "let weights rise strictly from 1 to 100"
    yield Rule(
        'self.mode == "canary" || !has(self.steps) || '
        '(self.mode == "preview" ? self.steps.size() == 0 : self.steps == [100])',
        "contradicts the mode, whose steps are set; leave steps out, or set mode to canary",
        "steps",
        filled(
            "%s contradicts mode %s, whose steps are %s; leave steps out, or set mode to canary",
            shown("self.steps"),
            "self.mode",
            'self.mode == "preview" ? "[]" : "[100]"',
        ),
    )
    yield Rule(
        f"{canary} || self.steps.all(x, x >= 1) && {rising('self.steps')}",
        f"does not rise; {remedy}",
        "steps",
        filled(f"%s does not rise strictly from 1; {remedy}", shown("self.steps")),
    )
    yield Rule(
        f"{canary} || self.steps.size() > 0 && self.steps[self.steps.size() - 1] == 100",
        "does not end at 100; let the last step be 100: all traffic",
        "steps",
        filled("%s does not end at 100; let the last step be 100: all traffic", shown("self.steps")),
    )
    yield Rule(
        'self.mode != "blueGreen" || self.capacity == "surge"',
        "contradicts mode blueGreen, which builds the whole new fleet beside the old one; "
        "set capacity to surge, or mode to canary",
        "capacity",
    )
    yield Rule(
        f"{nanoseconds('self.maxStepTime')} > {nanoseconds('self.bake')}",
        "is not longer than bake: no verdict could be reached; lengthen it or shorten bake",
        "maxStepTime",
        filled(
            "%s is not longer than bake, which is %s: no verdict could be reached; lengthen it or shorten bake",
            "self.maxStepTime",
            "self.bake",
        ),
    )


def _whole_traffic() -> Rule:
    total = "self.weights.map(n, self.weights[n]).sum()"
    remedy = "let them sum to 100: all of the fleet's requests"
    return Rule(
        f"{total} == 100",
        f"do not sum to 100; {remedy}",
        "weights",
        filled(f"the weights sum to %s; {remedy}", f"string({total})"),
    )


def _spec() -> Iterator[Rule]:
    yield _own_targets()
    yield from _schedules_of_variants()
    yield _affordable_schedules()
    yield from _override()
    yield Rule(
        f"!has(self.scaling.maxCostPerHour) || {_FLOOR} <= self.scaling.maxCostPerHour",
        "is below the cost of the fewest replicas of all variants; raise it, or lower replicas.min",
        "scaling.maxCostPerHour",
        filled(
            "%s is below the cost of the fewest replicas of all variants, %s per hour; raise it, or lower replicas.min",
            "string(self.scaling.maxCostPerHour)",
            f"string({_FLOOR})",
        ),
    )
    yield from _traffic()
    yield Rule(
        "!has(self.rollout) || self.variants.exists(v, v.subset != self.variants[0].subset)",
        "needs two versions, but every variant is of one subset; add a variant with another subset, or remove rollout",
        "rollout",
        filled(
            "needs two versions, but every variant is of subset %s; "
            "add a variant with another subset, or remove rollout",
            "self.variants[0].subset",
        ),
    )


def _own_targets() -> Rule:
    remedy = "name an object of its own for each variant"
    holds, said = none_of(
        "self.variants",
        "v",
        f"!self.variants.exists_one(w, {_SAME_TARGET})",
        filled(f"%s is scaled by more than one variant; {remedy}", "v.scaleTargetRef.name"),
    )
    return Rule(holds, f"an object is scaled by more than one variant; {remedy}", "variants", said)


def _schedules_of_variants() -> Iterator[Rule]:
    yield _of_schedules(
        "has(s.variant) && !self.variants.exists(v, v.name == s.variant)",
        filled("schedule %s: %s is the name of no variant; write one of %s", "s.name", "s.variant", shown(_NAMES)),
        "names no variant; write the name of one, or leave it out",
    )
    for bad, limit, word, remedy in (
        (
            "has(s.min) && !has(s.max) && s.min > v.replicas.max",
            "max",
            "above",
            "lower min, or give the schedule a max",
        ),
        (
            "has(s.max) && !has(s.min) && s.max < v.replicas.min",
            "min",
            "below",
            "raise max, or give the schedule a min",
        ),
    ):
        given = "min" if limit == "max" else "max"
        said = filled(
            f"schedule %s: {given} %s is {word} {limit} of variant %s, which is %s; {remedy} as well",
            "s.name",
            f"string(s.{given})",
            "v.name",
            f"string(v.replicas.{limit})",
        )
        concerned = f"{_CONCERNED} && {bad}"
        yield _of_schedules(
            f"self.variants.exists(v, {concerned})",
            f"self.variants.map(v, {concerned}, {said})[0]",
            f"{given} is {word} {limit} of a variant; {remedy} as well",
        )


def _affordable_schedules() -> Rule:
    budget = "self.scaling.maxCostPerHour"
    return _of_schedules(
        f"has({budget}) && has(s.min) && {_PEAK} > {budget} && {_PEAK} > {_FLOOR}",
        filled(
            "schedule %s: min %s costs %s per hour with the other variants, above maxCostPerHour, %s; "
            "lower min or raise maxCostPerHour",
            "s.name",
            "string(s.min)",
            f"string({_PEAK})",
            f"string({budget})",
        ),
        "costs more than maxCostPerHour; lower min or raise maxCostPerHour",
    )


def _of_schedules(bad: str, said: str, message: str) -> Rule:
    holds, text = none_of("self.scaling.schedules", "s", bad, said)
    return Rule(holds, f"a schedule {message}", "scaling.schedules", text)


def _override() -> Iterator[Rule]:
    replicas = "self.scaling.override.replicas"
    yield _of_override(
        "!self.variants.exists(v, v.name == n)",
        filled("%s is the name of no variant; write one of %s", "n", shown(_NAMES)),
        "names no variant; write the name of one",
    )
    own = "(!has(s.variant) || s.variant == n)"
    low = f"self.scaling.schedules.exists(s, has(s.min) && {own} && {replicas}[n] >= s.min)"
    high = f"self.scaling.schedules.exists(s, has(s.max) && {own} && {replicas}[n] <= s.max)"
    inside = f"({replicas}[n] >= v.replicas.min || {low}) && ({replicas}[n] <= v.replicas.max || {high})"
    yield _of_override(
        f"self.variants.exists(v, v.name == n && !({inside}))",
        filled(
            "%s is outside the bounds of variant %s, its own and those of its schedules, which an override does not "
            "lift; stay inside, or change the variant's replicas",
            f"string({replicas}[n])",
            "n",
        ),
        "is outside the bounds of a variant, which an override does not lift; "
        "stay inside, or change the variant's replicas",
    )


def _of_override(bad: str, said: str, message: str) -> Rule:
    holds, text = none_of("self.scaling.override.replicas", "n", bad, said)
    return Rule(f"!has(self.scaling.override) || {holds}", message, "scaling.override.replicas", text)


def _traffic() -> Iterator[Rule]:
    yield Rule(
        "!has(self.traffic) || !has(self.rollout)",
        "sets the weights by hand, which rollout moves as well: only one of the two may; "
        "remove traffic, or remove rollout until the weights are left to it again",
        "traffic",
    )
    holds, said = none_of(
        "self.traffic.weights",
        "n",
        "!self.variants.exists(v, v.subset == n)",
        filled("%s is the subset of no variant; write one of %s", "n", shown("self.variants.map(v, v.subset)")),
    )
    message = "names the subset of no variant; write the subset of one"
    yield Rule(f"!has(self.traffic) || {holds}", message, "traffic.weights", said)

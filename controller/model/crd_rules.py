"""The model's checks across fields, as rules that the API server itself applies to a Fleet, in the model's words.

One list of rules for each model, in the order in which the model checks. What only the daemon can check: a time
zone's name, for the server may lack the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from controller.model.buckets import TPOT_EDGES_S, TTFT_EDGES_S, edges_text
from controller.model.cel import DURATION, LATENCY, Rule, filled, nanoseconds, quoted, rising, shown, where_readable
from controller.model.crd_spec_rules import spec_rules
from controller.model.fields import format_duration


def _readable(edges: str) -> str:
    return f"{edges}.all(e, e.matches({quoted(LATENCY)}))"


AT_MOST_A_YEAR = Rule(
    where_readable(DURATION, ["self"], f"{nanoseconds('self')} <= {365 * 86_400 * 10**9}"),
    "is above 365d; write at most 365d",
)
"""Of every duration."""
LATENCY_AT_MOST_A_YEAR = Rule(
    where_readable(LATENCY, ["self"], 'duration(self) <= duration("8760h")'), "is above 8760h; write at most 8760h"
)
"""Of every duration that has no days."""
EDGES_RISE = Rule(
    f"!{_readable('self')} || {rising('self', 'duration({})')}",
    "the edges do not rise; list the edges in rising order, each once",
)
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
        "FleetSpec": tuple(spec_rules()),
    }


def _ordered_bounds() -> Rule:
    said = filled("%s is above max, which is %s; lower min or raise max", "string(self.min)", "string(self.max)")
    return Rule("self.min <= self.max", "min is above max; lower min or raise max", "min", said)


def _at_an_edge(name: str, edges_s: tuple[float, ...]) -> Rule:
    threshold, edges = f"self.{name}.threshold", f"self.{name}.bucketEdges"
    own = ", ".join(_literal(edge) for edge in edges_s)
    listed = f"(!{_readable(edges)} || {edges}.exists(e, duration(e) == duration({threshold})))"
    at_an_edge = f"(has({edges}) ? {listed} : duration({threshold}) in [{own}])"
    reason = f"is no bucket edge of the {name.upper()} histogram, so the share within it cannot be counted"
    one_of = filled("one of bucketEdges, %s", shown(edges))
    said = filled(f"%s {reason}; write %s", threshold, f"has({edges}) ? {one_of} : {_nearest(threshold, edges_s)}")
    holds = where_readable(LATENCY, [threshold], at_an_edge)
    return Rule(holds, f"{reason}; write a bucket edge", f"{name}.threshold", said)


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
        _longer("self.startDeadline", "self.coldStart"),
        f"is not longer than coldStart: {reason}; {remedy}",
        "startDeadline",
        filled(
            f"%s is not longer than coldStart, which is %s: {reason}; {remedy}", "self.startDeadline", "self.coldStart"
        ),
    )


def _longer(one: str, other: str) -> str:
    return where_readable(DURATION, [one, other], f"{nanoseconds(one)} > {nanoseconds(other)}")


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
    contradicts = (
        "contradicts mode blueGreen, which builds the whole new fleet beside the old one; "
        "set capacity to surge, or mode to canary"
    )
    yield Rule(
        'self.mode != "blueGreen" || self.capacity == "surge"',
        contradicts,
        "capacity",
        filled(f"%s {contradicts}", "self.capacity"),
    )
    yield Rule(
        _longer("self.maxStepTime", "self.bake"),
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

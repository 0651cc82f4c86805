"""The model's checks between the parts of a spec, as rules that the API server itself applies: `contradictions`.

A rule over a list or a mapping names the first entry that breaks it: the place in the list cannot be said.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.model.cel import Rule, filled, none_of, shown

_CONCERNED = "(!has(s.variant) || s.variant == v.name)"
_FLOOR = "self.variants.map(v, double(v.replicas.min) * v.costPerHour).sum()"
_PEAK = f"self.variants.map(v, double({_CONCERNED} ? s.min : v.replicas.min) * v.costPerHour).sum()"
_NAMES = "self.variants.map(v, v.name)"
_SAME_TARGET = " && ".join(
    f"w.scaleTargetRef.{field} == v.scaleTargetRef.{field}" for field in ("name", "kind", "apiVersion")
)


def spec_rules() -> Iterator[Rule]:
    """Every rule of a FleetSpec."""
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

"""Checks across the parts of a fleet: names that refer to nothing, bounds that exclude each other, small budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from controller.model.problems import Path, Problem, either
from controller.model.rollout import Rollout
from controller.model.scaling import Override, Scaling, Schedule
from controller.model.traffic import Traffic
from controller.model.variant import Variant


def spec_contradictions(
    variants: Sequence[Variant], scaling: Scaling, rollout: Rollout | None, traffic: Traffic | None = None
) -> Iterator[Problem]:
    """Every contradiction between the parts of a spec, paths relative to it."""
    yield from _twice(variants)
    yield from _same_names([schedule.name for schedule in scaling.schedules], "schedules", ("scaling", "schedules"))
    for index, schedule in enumerate(scaling.schedules):
        for problem in (*_schedule(schedule, variants), *_schedule_cost(schedule, variants, scaling)):
            yield problem.below(("scaling", "schedules", index))
    if scaling.override is not None:
        for problem in _override(scaling.override, variants, scaling.schedules):
            yield problem.below(("scaling", "override", "replicas"))
    yield from _budget(variants, scaling)
    if rollout is not None and len({variant.subset for variant in variants}) < 2:
        reason = f"needs two versions, but every variant is of subset {variants[0].subset}"
        yield Problem(("rollout",), reason, "add a variant with another subset, or remove rollout")
    if traffic is not None:
        for problem in _traffic(traffic, variants, rollout):
            yield problem.below(("traffic",))


def _traffic(traffic: Traffic, variants: Sequence[Variant], rollout: Rollout | None) -> Iterator[Problem]:
    if rollout is not None:
        reason = "sets the weights by hand, which rollout moves as well: only one of the two may"
        yield Problem((), reason, "remove traffic, or remove rollout until the weights are left to it again")
    subsets = tuple(dict.fromkeys(variant.subset for variant in variants))
    by_name = {variant.name: variant.subset for variant in variants}
    for subset in traffic.weights:
        if subset not in subsets:
            near = get_close_matches(subset, subsets, n=1)
            remedy = f"did you mean `{near[0]}`?" if near else f"write {either(subsets)}"
            if subset in by_name:
                remedy = f"the variant of that name is of subset `{by_name[subset]}`: write that"
            yield Problem(("weights", subset), "is the subset of no variant", remedy)


def _twice(variants: Sequence[Variant]) -> Iterator[Problem]:
    yield from _same_names([variant.name for variant in variants], "variants", ("variants",))
    targets = [variant.scale_target_ref for variant in variants]
    for index, target in enumerate(targets):
        if target in targets[:index]:
            reason = f"is already scaled by variants[{targets.index(target)}]"
            path = ("variants", index, "scaleTargetRef", "name")
            yield Problem(path, reason, "name an object of its own for each variant", f'"{target.name}"')


def _same_names(names: Sequence[str], kind: str, path: Path) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name in names[:index]:
            reason = f"is already the name of {kind}[{names.index(name)}]"
            yield Problem((*path, index, "name"), reason, "give each a name of its own", f'"{name}"')


def _unknown_variant(name: str, variants: Sequence[Variant]) -> tuple[str, str]:
    """Reason and remedy for a name that no variant has."""
    names = [variant.name for variant in variants]
    near = get_close_matches(name, names, n=1)
    remedy = f"did you mean `{near[0]}`?" if near else f"write {either(names)}"
    return "is the name of no variant", remedy


def _schedule(schedule: Schedule, variants: Sequence[Variant]) -> Iterator[Problem]:
    concerned = [variant for variant in variants if schedule.variant in (None, variant.name)]
    if not concerned:
        reason, remedy = _unknown_variant(str(schedule.variant), variants)
        yield Problem(("variant",), reason, remedy, f'"{schedule.variant}"')
    for variant in concerned:
        bounds = variant.replicas
        if schedule.max is None and schedule.min is not None and schedule.min > bounds.max:
            reason = f"is above max of variant {variant.name}, which is {bounds.max}"
            yield Problem(("min",), reason, "lower min, or give the schedule a max as well", str(schedule.min))
        if schedule.min is None and schedule.max is not None and schedule.max < bounds.min:
            reason = f"is below min of variant {variant.name}, which is {bounds.min}"
            yield Problem(("max",), reason, "raise max, or give the schedule a min as well", str(schedule.max))


def _schedule_cost(schedule: Schedule, variants: Sequence[Variant], scaling: Scaling) -> Iterator[Problem]:
    """Only what the schedule itself adds: floors that are too dear without it are reported at the budget."""
    if schedule.min is None or scaling.max_cost_per_hour is None:
        return
    floors = [schedule.min if schedule.variant in (None, v.name) else v.replicas.min for v in variants]
    cost = sum(floor * variant.cost_per_hour for floor, variant in zip(floors, variants, strict=True))
    if cost > max(scaling.max_cost_per_hour, _floor_cost(variants)):
        reason = f"costs {cost:g} per hour with the other variants, above maxCostPerHour, {scaling.max_cost_per_hour:g}"
        yield Problem(("min",), reason, "lower min or raise maxCostPerHour", str(schedule.min))


def _override(override: Override, variants: Sequence[Variant], schedules: Sequence[Schedule]) -> Iterator[Problem]:
    by_name = {variant.name: variant for variant in variants}
    for name, replicas in override.replicas.items():
        if name not in by_name:
            reason, remedy = _unknown_variant(name, variants)
            yield Problem((name,), reason, remedy)
            continue
        low, high = _widest(by_name[name], schedules)
        if not low <= replicas <= high:
            reason = f"is outside the bounds of variant {name}, {low} to {high}, which an override does not lift"
            yield Problem((name,), reason, "stay inside, or change the variant's replicas", str(replicas))


def _widest(variant: Variant, schedules: Sequence[Schedule]) -> tuple[int, int]:
    """The lowest min and the highest max that the variant ever has."""
    own = [s for s in schedules if s.variant in (None, variant.name)]
    low = min([variant.replicas.min, *(s.min for s in own if s.min is not None)])
    high = max([variant.replicas.max, *(s.max for s in own if s.max is not None)])
    return low, high


def _budget(variants: Sequence[Variant], scaling: Scaling) -> Iterator[Problem]:
    floor = _floor_cost(variants)
    budget = scaling.max_cost_per_hour
    if budget is not None and floor > budget:
        reason = f"is below the cost of the fewest replicas of all variants, {floor:g} per hour"
        yield Problem(("scaling", "maxCostPerHour"), reason, "raise it, or lower replicas.min", f"{budget:g}")


def _floor_cost(variants: Sequence[Variant]) -> float:
    return sum(variant.replicas.min * variant.cost_per_hour for variant in variants)

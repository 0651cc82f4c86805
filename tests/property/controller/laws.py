"""The laws of a decision, each as a sentence about one world and the plan made of it, however it was made.

They know nothing of the guards. Every law returns what breaks it, or an empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from controller.model.bounds import effective_bounds
from controller.model.decision import Reason
from controller.model.plan import Plan
from controller.model.snapshot import Freshness, Reading, ReplicaPhase
from tests.property.controller.worlds import World

Law = Callable[[World, Plan], str]
NEEDED = ("engines", "running", "waiting", "finished_rps", "first_token_rps", "prefill_tps", "decode_tps")


def _is_fresh(reading: Reading) -> bool:
    return reading.freshness is Freshness.FRESH and reading.value is not None and 0 <= reading.value < 1e13


def complete(world: World) -> bool:
    """Whether everything that a reduction needs was seen, whole and fresh."""
    snapshot = world.snapshot
    serving = [v for v in snapshot.variants if v.target is not None and v.target.ready]
    for state in serving:
        if not all(_is_fresh(getattr(state.signals, name)) for name in NEEDED):
            return False
        if (state.signals.engines.value or 0) < (state.target.ready if state.target else 0):
            return False
    rest = (snapshot.inflight, snapshot.inflight_before) if serving else (snapshot.refused_rps,)
    read = all(v.target is not None for v in snapshot.variants)
    return read and not snapshot.warnings and all(_is_fresh(r) for r in rest)


def _before(plan: Plan) -> Mapping[str, int]:
    return dict(plan.decision.before)


def _bounds(world: World, name: str) -> tuple[int, int]:
    found = effective_bounds(world.fleet, name, world.snapshot.active_schedules)
    return found.min, found.max


def _foreign(world: World) -> set[str]:
    return {v.name for v in world.snapshot.variants if v.target is not None and v.target.foreign_writer}


def _by_hand(world: World) -> set[str]:
    """The variants that an override names now; the others stay under control."""
    override = world.fleet.spec.scaling.override
    return set(override.replicas) if override is not None and override.until.timestamp() > world.snapshot.at else set()


def _governed(world: World, plan: Plan) -> list[tuple[str, int]]:
    return [(name, replicas) for name, replicas in plan.decision.after if name not in _by_hand(world)]


def _asleep(world: World, plan: Plan) -> bool:
    """Whether nothing serves: growth is then the way back from zero, a move toward safety that no window delays."""
    stable = plan.memory.stable
    return not any(_before(plan)[v.name] for v in world.fleet.spec.variants if v.subset == stable)


def silence_is_not_idleness(world: World, plan: Plan) -> str:
    lost = [n for n, r in plan.decision.after if r < _before(plan)[n]]
    return f"{lost} shrink without complete evidence" if lost and not complete(world) else ""


def bounds_hold(world: World, plan: Plan) -> str:
    for name, replicas in plan.decision.after:
        low, high = _bounds(world, name)
        if name in _foreign(world) or plan.decision.reason is Reason.UNREADABLE:
            continue
        if replicas < low:
            return f"{name} has {replicas}, at least {low} are wanted"
        paused = world.fleet.spec.scaling.paused
        if replicas > high and (replicas > _before(plan)[name] or (complete(world) and not paused)):
            return f"{name} has {replicas}, at most {high} are allowed"
    return ""


def a_foreign_target_is_left_alone(world: World, plan: Plan) -> str:
    touched = [w.variant for w in plan.writes if w.variant in _foreign(world)]
    return f"{touched} are driven by another" if touched else ""


def a_paused_fleet_keeps_its_replicas(world: World, plan: Plan) -> str:
    if not world.fleet.spec.scaling.paused:
        return ""
    for name, replicas in plan.decision.after:
        if replicas not in (_before(plan)[name], max(_before(plan)[name], _bounds(world, name)[0])):
            return f"{name} goes {_before(plan)[name]} → {replicas} while paused"
    return ""


def no_growth_beyond_the_budget(world: World, plan: Plan) -> str:
    limit = world.fleet.spec.scaling.max_cost_per_hour
    prices = {v.name: v.cost_per_hour for v in world.fleet.spec.variants}
    grown = [n for n, r in plan.decision.after if r > max(_before(plan)[n], _bounds(world, n)[0])]
    cost = sum(prices[n] * r for n, r in plan.decision.after)
    return (
        f"{grown} grow to {cost} per hour, above {limit}" if limit is not None and grown and cost > limit + 1e-6 else ""
    )


def steps_are_bounded(world: World, plan: Plan) -> str:
    steps = world.fleet.spec.scaling.steps
    for name, replicas in _governed(world, plan):
        now, (low, high) = _before(plan)[name], _bounds(world, name)
        if steps.up is not None and replicas > max(now + steps.up, low):
            return f"{name} grows {now} → {replicas} at once"
        down = max(1, now // 2) if steps.down is None else steps.down
        if replicas < min(now - down, high):
            return f"{name} shrinks {now} → {replicas} at once"
    return ""


def changes_keep_the_cool_down(world: World, plan: Plan) -> str:
    """With one exception: a fleet asleep grows at once."""
    rule, memory = world.fleet.spec.scaling, plan.memory
    changes = [t for t in (memory.last_up_at, memory.last_down_at) if t is not None]
    if rule.policy != "thresholds" or not changes or world.snapshot.at - max(changes) >= rule.thresholds.cooldown:
        return ""
    for name, replicas in _governed(world, plan):
        low, high = _bounds(world, name)
        if _asleep(world, plan) and replicas > _before(plan)[name]:
            continue
        if replicas not in (_before(plan)[name], max(low, min(high, _before(plan)[name]))):
            return f"{name} changes {world.snapshot.at - max(changes):.0f} s after the last change"
    return ""


def nothing_wanted_lately_is_taken_away(world: World, plan: Plan) -> str:
    window_s, at = world.fleet.spec.scaling.stabilization.down, world.snapshot.at
    if window_s == 0:
        return ""
    young = world.memory.started_at is None or at - world.memory.started_at < window_s
    for name, replicas in _governed(world, plan):
        now, high = _before(plan)[name], _bounds(world, name)[1]
        lately = [dict(r.replicas).get(name, 0) for r in world.memory.recommendations if at - r.at <= window_s]
        wanted = min(now, max([*lately, now if young else 0], default=0), high)
        if replicas < wanted:
            return f"{name} shrinks {now} → {replicas}, {wanted} were wanted within {window_s} s"
    return ""


def growth_waits_for_its_window(world: World, plan: Plan) -> str:
    """With one exception: a fleet asleep grows at once."""
    window_s, at = world.fleet.spec.scaling.stabilization.up, world.snapshot.at
    if window_s == 0 or _asleep(world, plan):
        return ""
    for name, replicas in _governed(world, plan):
        lately = [dict(r.replicas).get(name, 10**6) for r in world.memory.recommendations if at - r.at <= window_s]
        most = max([_before(plan)[name], _bounds(world, name)[0], min(lately, default=10**6)])
        if replicas > most:
            return f"{name} grows to {replicas}, not wanted for {window_s} s"
    return ""


def a_reduction_leaves_enough_that_is_ready(world: World, plan: Plan) -> str:
    """Where ready replicas leave, the ready ones that stay carry what is planned for."""
    known = dict(plan.decision.estimates)
    demand, wanted = known.get("sized_rps"), dict(plan.decision.after)
    stable = plan.memory.stable
    serving = [v.name for v in world.fleet.spec.variants if v.subset == stable]
    states = [v for v in world.snapshot.variants if v.target is not None and v.name in serving]
    dropped = [v.name for v in states if v.target and wanted[v.name] < min(v.target.ready, _bounds(world, v.name)[1])]
    attained = {c.type: c.status == "True" for c in plan.decision.conditions}.get("ObjectiveAttainable")
    lost = [n for n in dropped if wanted[n] < _before(plan)[n] and n not in _by_hand(world)]
    if not lost or not attained or not demand:
        return ""
    carried = sum(
        min(wanted[v.name], v.target.ready) * (known[f"capacity_rps.{v.name}"] or 0.0) for v in states if v.target
    )
    return f"{lost} shrink to {carried:.2f}/s, {demand:.2f}/s are planned for" if carried < demand * 0.999 else ""


def every_decision_is_explained(_world: World, plan: Plan) -> str:
    decision = plan.decision
    if not decision.steps or decision.steps[0].before != decision.before or decision.steps[-1].after != decision.after:
        return "the steps do not lead from before to after"
    if any(left.after != right.before for left, right in pairwise(decision.steps)):
        return "there is a gap between two steps"
    changed = [s for s in decision.steps if s.before != s.after] or [decision.steps[-1]]
    if decision.reason is not changed[-1].reason:
        return f"the reason is {decision.reason}, the last change was made for {changed[-1].reason}"
    if not decision.sentence.strip() or any(not s.message.strip() for s in decision.steps):
        return "something is not said"
    if any(a.replicas == decision.after for a in decision.rejected):
        return "what was decided is among the rejected alternatives"
    return ""


def writes_are_the_decision(world: World, plan: Plan) -> str:
    changes = {n: (_before(plan)[n], r) for n, r in plan.decision.after if r != _before(plan)[n]}
    if {w.variant: (w.current, w.replicas) for w in plan.writes} != changes or plan.memory.intent != plan.writes:
        return "writes, intent and decision differ"
    directions = [w.replicas > w.current for w in plan.writes]
    return "" if directions == sorted(directions, reverse=True) else "a reduction comes before a growth"


def victims_are_those_who_matter_least(world: World, plan: Plan) -> str:
    for write in plan.writes:
        state = world.snapshot.variant(write.variant)
        if state is None or state.target is None:
            return f"{write.variant} was written unread"
        alive = {r.name: r for r in state.target.replicas if r.phase is not ReplicaPhase.DRAINING}
        leave = min(write.current - write.replicas, len(alive) - write.replicas)
        if len(write.victims) > max(0, leave):
            return f"{len(write.victims)} are named, {leave} leave"
        given_up = plan.memory.variant(write.variant).given_up
        ranks = {n: _rank(r.phase, r.load, given_up=n in given_up) for n, r in alive.items()}
        stay = [ranks[n] for n in alive if n not in write.victims]
        if write.victims and stay and max(ranks[v] for v in write.victims) > min(stay):
            return f"{write.victims} leave, others matter less"
        if leave > 0 and state.target.chooses_victims and len(write.victims) != leave:
            return "not everybody who leaves is named"
    return ""


def _rank(phase: ReplicaPhase, load: float | None, *, given_up: bool) -> tuple[int, float]:
    if given_up:
        return (0, 0.0)
    order = {ReplicaPhase.FAILED: 1, ReplicaPhase.PENDING: 2, ReplicaPhase.STARTING: 3, ReplicaPhase.READY: 4}
    return (order[phase], (float("inf") if load is None else load) if phase is ReplicaPhase.READY else 0.0)


def other_versions_keep_their_replicas(world: World, plan: Plan) -> str:
    stable = plan.memory.stable
    for variant in world.fleet.spec.variants:
        now, (low, high) = _before(plan).get(variant.name, 0), _bounds(world, variant.name)
        then = dict(plan.decision.after).get(variant.name, 0)
        if variant.subset == stable or variant.name in _by_hand(world):
            continue
        if then not in (now, max(low, min(high, now))):
            return f"{variant.name} of {variant.subset} goes {now} → {then}, {stable} is stable"
    return ""


LAWS: tuple[Law, ...] = (
    silence_is_not_idleness,
    bounds_hold,
    a_foreign_target_is_left_alone,
    a_paused_fleet_keeps_its_replicas,
    no_growth_beyond_the_budget,
    steps_are_bounded,
    changes_keep_the_cool_down,
    nothing_wanted_lately_is_taken_away,
    growth_waits_for_its_window,
    a_reduction_leaves_enough_that_is_ready,
    every_decision_is_explained,
    writes_are_the_decision,
    victims_are_those_who_matter_least,
    other_versions_keep_their_replicas,
)


def broken(world: World, plan: Plan) -> list[str]:
    """The laws that the plan breaks, each with how."""
    if plan.decision.reason is Reason.UNREADABLE:
        return ["an unreadable fleet was written"] if plan.writes else []
    return [f"{law.__name__}: {text}" for law in LAWS if (text := law(world, plan))]

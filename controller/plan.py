"""The pure heart: one cycle for one fleet, from what is seen and remembered to what shall be written and why.

    estimate -> decide -> guard -> writes in safe order

No clock, network, file, log, randomness or environment here or below: the same arguments give the same Plan under the
same build of Python and of the C library's mathematics (whose `exp` and `log` may differ in the last bit elsewhere),
which is what lets the journal replay every decision bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from controller.decide import override, slo, standing, thresholds, traffic
from controller.decide.proposal import Proposal, Question, text_of
from controller.decide.traffic import Moved
from controller.estimate.continuity import resumed
from controller.estimate.demand import IDLE_RPS, Demand
from controller.estimate.ownership import observe_weights
from controller.estimate.split import shares
from controller.estimate.world import World, estimate
from controller.guard.base import Guard, GuardContext, no_lower
from controller.guard.chain import GUARDS, restrain
from controller.model.bounds import effective_bounds
from controller.model.copies import replace
from controller.model.decision import Action, Counts, Decision, Reason, ScaleWrite, Step
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory, Recommendation
from controller.model.plan import Plan
from controller.model.snapshot import ReplicaPhase, ScaleTarget, Snapshot
from engine.profile import Profile


def plan(
    snapshot: Snapshot,
    memory: FleetMemory,
    fleet: Fleet,
    now: float,
    priors: Mapping[str, Profile],
    guards: tuple[Guard, ...] = GUARDS,
) -> Plan:
    """Decide one cycle. `priors` has the capacity profile of every variant; `now` is the instant decided for.

    Raises KeyError where a variant has no profile: priors are settled before the loop starts.
    """
    if snapshot.at != now:
        snapshot = replace(snapshot, at=now)
    world, memory = estimate(snapshot, resumed(memory, snapshot), fleet, priors)
    if fleet.spec.traffic is not None or memory.traffic is not None:
        memory = replace(memory, traffic=observe_weights(memory.traffic, snapshot, fleet))
    subsets = [v.subset for v in fleet.spec.variants]
    question = Question(
        snapshot=snapshot,
        memory=_noticed(memory, world, snapshot),
        fleet=fleet,
        world=world,
        current=tuple(
            (v.name, target.desired) for v in fleet.spec.variants if (target := _target(snapshot, v.name)) is not None
        ),
        bounds={v.name: effective_bounds(fleet, v.name, snapshot.active_schedules) for v in fleet.spec.variants},
        stable=memory.stable if memory.stable in subsets else subsets[0],
        split=shares(fleet, snapshot, memory.traffic),
    )
    if len(question.current) < len(subsets):
        return _unreadable(question)
    return _decided(question, guards)


def _decided(question: Question, guards: tuple[Guard, ...]) -> Plan:
    by_hand = override.in_force(question)
    policy = thresholds.propose if question.fleet.spec.scaling.policy == "thresholds" else slo.propose
    proposal = policy(question) if by_hand is None else override.propose(question, by_hand, policy)
    context = GuardContext(
        snapshot=question.snapshot,
        memory=question.memory,
        fleet=question.fleet,
        world=question.world,
        current=question.current,
        bounds=question.bounds,
        serving=tuple(question.serving()),
        by_hand=frozenset(by_hand.replicas if by_hand is not None else ()),
        split=question.split,
    )

    def restrained(counts: Counts, demand: Demand | None) -> Counts:
        same = demand is context.world.demand
        other = context if same else replace(context, world=replace(context.world, demand=demand))
        return restrain(other, counts, guards)[0]

    final, held = restrain(context, proposal.counts, guards)
    moved = traffic.decide(question, final, proposal.short)
    step = None if moved is None else moved.step(final)
    steps = (*proposal.steps, *held, *([] if step is None else [step]))
    writes = _writes(question, final)
    decision = Decision(
        fleet=question.fleet.key,
        at=question.snapshot.at,
        action=_action(question.current, final, moved),
        before=question.current,
        after=final,
        reason=_binding(steps).reason,
        sentence=_sentence(question, final, steps, moved),
        steps=steps,
        rejected=tuple(a for a in proposal.rejected if a.replicas not in (final, proposal.counts)),
        counterfactuals=(*proposal.what_if(final, restrained), *(() if moved is None else moved.what_if)),
        conditions=standing.conditions(question, proposal, final, held, None if moved is None else moved.decision),
        estimates=_estimates(question),
        traffic=None if moved is None else moved.decision,
    )
    memory = _remembered(question, proposal, decision, writes)
    if moved is None:
        return Plan(decision, writes, memory)
    return Plan(decision, writes, replace(memory, traffic=moved.memory), moved.write)


def _binding(steps: tuple[Step, ...]) -> Step:
    """The last step that changed the number; where none did, the last that looked."""
    return next((s for s in reversed(steps) if s.before != s.after), steps[-1])


def _target(snapshot: Snapshot, name: str) -> ScaleTarget | None:
    state = snapshot.variant(name)
    return state.target if state is not None else None


def _noticed(memory: FleetMemory, world: World, snapshot: Snapshot) -> FleetMemory:
    """When demand was last seen, or could not be ruled out."""
    demand = world.demand
    quiet = (
        world.evidence.complete
        and demand is not None
        and demand.arrival_rps < IDLE_RPS
        and demand.running + demand.waiting <= 0
    )
    return replace(
        memory,
        last_demand_at=memory.last_demand_at if quiet and memory.last_demand_at is not None else snapshot.at,
    )


def _action(before: Counts, after: Counts, moved: Moved | None) -> Action:
    changes = [a - b for (_, a), (_, b) in zip(after, before, strict=True)]
    if any(c > 0 for c in changes):
        return Action.SHIFT if any(c < 0 for c in changes) else Action.UP
    if any(c < 0 for c in changes):
        return Action.DOWN
    return Action.HOLD if moved is None or moved.write is None else Action.TRAFFIC


def _sentence(question: Question, final: Counts, steps: tuple[Step, ...], moved: Moved | None) -> str:
    changed = [s for s in steps if s.before != s.after] or list(steps[-1:])
    said = [s.message for s in steps if s.reason is Reason.OVERRIDE and s not in changed[-2:]]
    why = "; ".join([*(s.message for s in changed[-2:]), *said])
    step = None if moved is None else moved.step(final)
    more = "" if step is None or step in changed else f"; {step.message}"
    if final == question.current:
        return f"hold {text_of(final)}: {why}{more}"
    return f"{text_of(question.current)} → {text_of(final)}: {why}{more}"


def _estimates(question: Question) -> tuple[tuple[str, float | None], ...]:
    world, demand = question.world, question.world.demand
    pairs: list[tuple[str, float | None]] = [("horizon_s", world.horizon_s)]
    if demand is not None:
        pairs += [("arrival_rps", demand.arrival_rps), ("sized_rps", demand.sized_rps)]
    if world.mix is not None:
        pairs += [("prompt_tokens", world.mix.prompt_tokens), ("output_tokens", world.mix.output_tokens)]
    for name, capacity in world.capacities.items():
        pairs.append((f"capacity_rps.{name}", capacity.rps))
        pairs.append((f"capacity_uncertainty_ratio.{name}", capacity.uncertainty_ratio))
        pairs.append((f"cold_start_p90_s.{name}", world.cold_starts[name].p90_s))
    return tuple((name, value if value is not None and math.isfinite(value) else None) for name, value in pairs)


def _writes(question: Question, final: Counts) -> tuple[ScaleWrite, ...]:
    """Growth first, reductions last: every prefix leaves the fleet no worse."""
    now = dict(question.current)
    writes = []
    for name, replicas in final:
        target = _target(question.snapshot, name)
        if target is not None and replicas != now[name]:
            victims = _victims(question, name, target, now[name] - replicas)
            writes.append(ScaleWrite(question.fleet.key, name, now[name], replicas, target.resource_version, victims))
    return tuple(sorted(writes, key=lambda w: w.replicas < w.current))


def _victims(question: Question, name: str, target: ScaleTarget, leaving: int) -> tuple[str, ...]:
    """Who leaves first: given-up and failed replicas, those still starting (newest first), then the least loaded.

    Nobody where fewer are there than are wanted anyway; a load that is not known may be any.
    """
    given_up = question.world.given_up.get(name, ())
    order = {ReplicaPhase.FAILED: 0, ReplicaPhase.PENDING: 1, ReplicaPhase.STARTING: 2, ReplicaPhase.READY: 3}
    candidates = [r for r in target.replicas if r.phase in order]
    candidates.sort(
        key=lambda r: (
            r.name not in given_up,
            order[r.phase],
            (math.inf if r.load is None else r.load) if r.phase is ReplicaPhase.READY else 0.0,
            -r.created_at,
            r.name,
        )
    )
    spare = min(leaving, len(candidates) - (target.desired - leaving))
    return tuple(r.name for r in candidates[: max(0, spare)]) if target.chooses_victims else ()


def _remembered(
    question: Question, proposal: Proposal, decision: Decision, writes: tuple[ScaleWrite, ...]
) -> FleetMemory:
    memory, at = question.memory, question.snapshot.at
    window_s = max(question.fleet.spec.scaling.stabilization.down, question.fleet.spec.scaling.stabilization.up)
    # Fewer replicas wanted on partial evidence are none wanted: the look-back must not be worn away by a fault.
    complete = question.world.evidence.complete
    wanted = proposal.counts if complete else no_lower(proposal.counts, question.current)
    return replace(
        memory,
        stable=question.stable,
        recommendations=_compacted((*memory.recommendations, Recommendation(at, wanted)), at - window_s),
        conditions=decision.conditions,
        intent=writes,
        intent_at=at if writes else None,
    )


def _compacted(history: tuple[Recommendation, ...], oldest: float) -> tuple[Recommendation, ...]:
    """The window's recommendations, runs of equal counts reduced to their first and last."""
    kept: list[Recommendation] = []
    for entry in history:
        if entry.at < oldest:
            continue
        if len(kept) >= 2 and kept[-1].replicas == kept[-2].replicas == entry.replicas:
            kept[-1] = entry
        else:
            kept.append(entry)
    return tuple(kept)


def _unreadable(question: Question) -> Plan:
    """Hold. Counts are of what could be read: no number stands in for a missing one."""
    at = question.snapshot.at
    lost = [v.name for v in question.fleet.spec.variants if _target(question.snapshot, v.name) is None]
    text = f"replicas of {', '.join(lost)} could not be read: {question.snapshot.unread or 'nothing can be decided'}"
    step = Step("observe", question.current, question.current, Reason.UNREADABLE, text)
    decision = Decision(
        fleet=question.fleet.key,
        at=at,
        action=Action.HOLD,
        before=question.current,
        after=question.current,
        reason=Reason.UNREADABLE,
        sentence=f"hold: {text}",
        steps=(step,),
        conditions=standing.unreadable(question, text),
        estimates=_estimates(question),
    )
    return Plan(decision, (), replace(question.memory, conditions=decision.conditions))

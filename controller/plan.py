"""The pure heart: one cycle for one fleet, from what is seen and remembered to what shall be written and why.

    estimate -> decide -> guard -> writes in safe order

No clock, network, file, log, randomness or environment here or below: the same arguments give the same Plan, on any
machine, which is what lets the journal replay every decision bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.decide import override, slo, standing, thresholds
from controller.decide.proposal import Proposal, Question, text_of
from controller.estimate.world import World, estimate
from controller.guard.base import Guard, GuardContext
from controller.guard.chain import GUARDS, restrain
from controller.model.bounds import effective_bounds
from controller.model.conditions import condition, settled
from controller.model.decision import Action, Counts, Decision, Reason, ScaleWrite, Step
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory, Recommendation
from controller.model.plan import Plan
from controller.model.snapshot import ReplicaPhase, ScaleTarget, Snapshot
from engine.profile import Profile

_IDLE_RPS = 1e-3
"""Below one request in a quarter of an hour, demand counts as none."""


def plan(
    snapshot: Snapshot,
    memory: FleetMemory,
    fleet: Fleet,
    now: float,
    priors: Mapping[str, Profile],
    guards: tuple[Guard, ...] = GUARDS,
) -> Plan:
    """Decide one cycle. `priors` has the capacity profile of every variant; `now` is the snapshot's time.

    Raises KeyError where a variant has no profile: priors are settled before the loop starts.
    """
    memory = _confirmed(replace(memory, started_at=now if memory.started_at is None else memory.started_at), snapshot)
    world, memory = estimate(snapshot, memory, fleet, priors)
    current = tuple(
        (v.name, target.desired if (target := _target(snapshot, v.name)) is not None else 0)
        for v in fleet.spec.variants
    )
    question = Question(
        snapshot=snapshot,
        memory=_noticed(memory, world, snapshot),
        fleet=fleet,
        world=world,
        current=current,
        bounds={v.name: effective_bounds(fleet, v.name, snapshot.active_schedules) for v in fleet.spec.variants},
        stable=memory.stable or fleet.spec.variants[0].subset,
    )
    if any(_target(snapshot, v.name) is None for v in fleet.spec.variants):
        return _unreadable(question)
    return _decided(question, guards)


def _decided(question: Question, guards: tuple[Guard, ...]) -> Plan:
    overridden = override.in_force(question)
    proposal = _propose(question, overridden=overridden)
    context = GuardContext(
        snapshot=question.snapshot,
        memory=question.memory,
        fleet=question.fleet,
        world=question.world,
        current=question.current,
        bounds=question.bounds,
        overridden=overridden,
    )
    final, held = restrain(context, proposal.counts, guards)
    reason = held[-1].reason if held else proposal.reason
    decision = Decision(
        fleet=question.fleet.key,
        at=question.snapshot.at,
        action=_action(question.current, final),
        before=question.current,
        after=final,
        reason=reason,
        sentence=_sentence(question, final, (*proposal.steps, *held)),
        steps=(*proposal.steps, *held),
        rejected=proposal.rejected,
        counterfactuals=proposal.counterfactuals,
        conditions=standing.conditions(question, proposal, final, held),
        estimates=_estimates(question),
    )
    writes = _writes(question, final)
    return Plan(decision, writes, _remembered(question, proposal, decision, writes))


def _propose(question: Question, *, overridden: bool) -> Proposal:
    if overridden:
        return override.propose(question)
    if question.fleet.spec.scaling.policy == "thresholds":
        return thresholds.propose(question)
    return slo.propose(question)


def _target(snapshot: Snapshot, name: str) -> ScaleTarget | None:
    state = snapshot.variant(name)
    return state.target if state is not None else None


def _confirmed(memory: FleetMemory, snapshot: Snapshot) -> FleetMemory:
    """Turn the last intent into history if the live objects show it, else forget it: live state is the truth."""
    if not memory.intent or memory.intent_at is None:
        return memory
    up = down = False
    for write in memory.intent:
        target = _target(snapshot, write.variant)
        if target is not None and target.desired == write.replicas:
            up, down = up or write.replicas > write.current, down or write.replicas < write.current
    return replace(
        memory,
        last_up_at=memory.intent_at if up else memory.last_up_at,
        last_down_at=memory.intent_at if down else memory.last_down_at,
        intent=(),
        intent_at=None,
    )


def _noticed(memory: FleetMemory, world: World, snapshot: Snapshot) -> FleetMemory:
    """When demand was last seen, or could not be ruled out."""
    demand = world.demand
    quiet = (
        world.evidence.complete
        and demand is not None
        and demand.arrival_rps < _IDLE_RPS
        and demand.running + demand.waiting <= 0
    )
    return replace(
        memory,
        last_demand_at=memory.last_demand_at if quiet and memory.last_demand_at is not None else snapshot.at,
    )


def _action(before: Counts, after: Counts) -> Action:
    changes = [a - b for (_, a), (_, b) in zip(after, before, strict=True)]
    if any(c > 0 for c in changes):
        return Action.SHIFT if any(c < 0 for c in changes) else Action.UP
    return Action.DOWN if any(c < 0 for c in changes) else Action.HOLD


def _sentence(question: Question, final: Counts, steps: tuple[Step, ...]) -> str:
    changed = [s for s in steps if s.before != s.after] or list(steps[-1:])
    why = "; ".join(s.message for s in changed[-2:])
    if final == question.current:
        return f"hold {text_of(final)}: {why}"
    return f"{text_of(question.current)} → {text_of(final)}: {why}"


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
    return tuple(pairs)


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
    """Who leaves first: given-up and failed replicas, those still starting (newest first), then the least loaded."""
    if leaving <= 0 or not target.chooses_victims:
        return ()
    given_up = question.world.given_up.get(name, ())
    order = {ReplicaPhase.FAILED: 0, ReplicaPhase.PENDING: 1, ReplicaPhase.STARTING: 2, ReplicaPhase.READY: 3}
    candidates = [r for r in target.replicas if r.phase in order]
    candidates.sort(
        key=lambda r: (
            r.name not in given_up,
            order[r.phase],
            r.load if r.phase is ReplicaPhase.READY and r.load is not None else 0.0,
            -r.created_at,
            r.name,
        )
    )
    return tuple(r.name for r in candidates[:leaving])


def _remembered(
    question: Question, proposal: Proposal, decision: Decision, writes: tuple[ScaleWrite, ...]
) -> FleetMemory:
    memory, at = question.memory, question.snapshot.at
    window_s = max(question.fleet.spec.scaling.stabilization.down, question.fleet.spec.scaling.stabilization.up)
    return replace(
        memory,
        stable=question.stable,
        recommendations=_compacted((*memory.recommendations, Recommendation(at, proposal.counts)), at - window_s),
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
    at = question.snapshot.at
    lost = [v.name for v in question.fleet.spec.variants if _target(question.snapshot, v.name) is None]
    text = f"replicas of {', '.join(lost)} could not be read: nothing can be decided"
    step = Step("observe", question.current, question.current, Reason.UNREADABLE, text)
    found = (condition("Ready", true=False, reason="Unreadable", message=text, at=at),)
    decision = Decision(
        fleet=question.fleet.key,
        at=at,
        action=Action.HOLD,
        before=question.current,
        after=question.current,
        reason=Reason.UNREADABLE,
        sentence=f"hold: {text}",
        steps=(step,),
        conditions=settled(found, question.memory.conditions),
        estimates=_estimates(question),
    )
    return Plan(decision, (), replace(question.memory, conditions=decision.conditions))

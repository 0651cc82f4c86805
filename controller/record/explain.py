"""A decision as text for people: what, why, through which steps, and what would have changed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.model.decision import Condition, Decision, Outcome, ScaleWrite, Step, TrafficDecision
from controller.model.weights import moved_text, weights_text
from controller.record.history import DecisionRun
from controller.record.wording import as_it_should_be, change, counts, instant, number

_RATIO = "_ratio"
_UNITS = {"_rps_per_s": "requests/s²", "_rps": "requests/s", "_tps": "tokens/s", "_tokens": "tokens", "_s": "s"}


def explanation(run: DecisionRun) -> str:
    """The whole explanation, in lines of plain text."""
    return "\n".join(_lines(run))


def binding(decision: Decision) -> Step | None:
    """The step that set the final number: the last that changed it, else the last that kept it."""
    changed = [step for step in decision.steps if step.before != step.after]
    return next(reversed(changed or decision.steps), None)


def _lines(run: DecisionRun) -> Iterator[str]:
    decision = run.decision
    yield f"{decision.fleet} at {instant(decision.at)}: {decision.action} ({decision.reason})"
    if run.count > 1:
        yield f"held {run.count} times since {instant(run.first_at)}"
    yield f"  {decision.sentence}"
    yield from _steps(decision)
    if decision.traffic is not None:
        yield from _section("traffic", _traffic(decision.traffic))
    yield from _section("what would have changed it", decision.counterfactuals)
    rejected = (
        f"{counts(other.replicas)} at {number(other.cost_per_hour, digits=2)} per hour: {other.why_not}"
        for other in decision.rejected
    )
    yield from _section("considered and not taken", rejected)
    yield from _section("conditions", map(_condition, decision.conditions))
    yield from _section("estimates", (f"{name}: {quantity(name, value)}" for name, value in decision.estimates))
    yield from _section("what became of it", map(_outcome, run.outcomes))


def _steps(decision: Decision) -> Iterator[str]:
    yield from ("", "steps")
    rows = [(s.stage, change(s.before, s.after), s.reason.value, s.message) for s in decision.steps]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    for row in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True))
        yield f"  {cells}  {row[3]}".rstrip()
    last = binding(decision)
    if last is not None:
        yield f"  binding: {last.stage} ({last.reason})"


def _traffic(made: TrafficDecision) -> Iterator[str]:
    yield f"wanted: {weights_text(made.wanted)}"
    if made.before is None or made.after is None:
        yield "seen: not read"
    elif made.before == made.after:
        yield f"seen and kept: {weights_text(made.before)}"
    else:
        yield f"moved: {moved_text(made.before, made.after)}"
    yield f"{made.reason}: {made.sentence}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield from ("", title)
        yield from (f"  {line}" for line in found)


def _condition(condition: Condition) -> str:
    mark = "" if as_it_should_be(condition) else "! "
    since = f"since {instant(condition.since)}"
    return f"{mark}{condition.type} {condition.status} {since} ({condition.reason}): {condition.message}"


def _outcome(outcome: Outcome) -> str:
    write = outcome.write
    detail = f" ({outcome.detail})" if outcome.detail else ""
    if not isinstance(write, ScaleWrite):
        return f"{moved_text(write.before, write.weights)}: {outcome.status}{detail}"
    return f"{write.variant} {write.current} → {write.replicas}: {outcome.status}{detail}"


def quantity(name: str, value: float | None) -> str:
    """A number whose name ends in its unit, with that unit behind it."""
    base = name.split(".", maxsplit=1)[0]
    if value is not None and base.endswith(_RATIO):
        return f"{value * 100:.1f} %"
    digits = 0 if value is not None and abs(value) >= 100 else 2
    unit = next((unit for suffix, unit in _UNITS.items() if base.endswith(suffix)), "")
    return number(value, unit, digits)

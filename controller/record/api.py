"""What the JSON API answers, as plain dicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from controller.model.codec import to_plain
from controller.ports import CycleRecord
from controller.record.board import StatusBoard
from controller.record.facts import DaemonFacts
from controller.record.figures import figures
from controller.record.history import DecisionRun
from controller.record.state import state_of
from controller.record.wording import as_it_should_be

_TAIL_BYTES = 65_536


def overview(board: StatusBoard, facts: DaemonFacts) -> dict[str, Any]:
    """The daemon and one row for each fleet."""
    last = board.last_tick()
    return {
        "version": facts.version,
        "dry_run": facts.dry_run,
        "interval_s": facts.interval_s,
        "at": last.at if last is not None else None,
        "tick_s": last.tick_s if last is not None else None,
        "tick_age_s": last.age_s if last is not None else None,
        "errors": errors_of(facts),
        "failed_cycles": facts.failed_cycles,
        "fleets": [summary(record) for record in board.records()],
    }


def errors_of(facts: DaemonFacts) -> list[str]:
    """What is amiss with the daemon as a whole, and with what it was given: a sentence each."""
    own = (facts.cycle_error, facts.journal_error, facts.memory_error)
    return [error for error in (*own, *facts.fleet_errors) if error]


def summary(record: CycleRecord) -> dict[str, Any]:
    """One fleet: state, figures, objectives, last decision in a sentence, and the conditions that are amiss."""
    decision, metadata, f = record.plan.decision, record.fleet.metadata, figures(record)
    objectives = record.fleet.spec.objectives
    state = state_of(record, f)
    return {
        "fleet": record.fleet.key,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "model_name": record.fleet.spec.model_name,
        "policy": record.fleet.spec.scaling.policy,
        "source": record.snapshot.source,
        "state": {"level": state.level, "sentence": state.sentence},
        "action": decision.action.value,
        "reason": decision.reason.value,
        "sentence": decision.sentence,
        "figures": to_plain(f),
        "objectives": {
            "ttft": {"threshold_s": objectives.ttft.threshold, "target_ratio": objectives.ttft.target},
            "tpot": {"threshold_s": objectives.tpot.threshold, "target_ratio": objectives.tpot.target},
        },
        "amiss": [to_plain(c) for c in decision.conditions if not as_it_should_be(c)],
    }


def detail(record: CycleRecord) -> dict[str, Any]:
    """Everything about one fleet's latest cycle."""
    return {
        **summary(record),
        "conditions": [{**to_plain(c), "as_it_should_be": as_it_should_be(c)} for c in record.plan.decision.conditions],
        "decision": to_plain(record.plan.decision),
        "writes": [to_plain(write) for write in record.plan.writes],
        "snapshot": to_plain(record.snapshot),
        "spec": to_plain(record.fleet)["spec"],
    }


def decision_runs(runs: list[DecisionRun]) -> dict[str, Any]:
    """Decisions, newest first; `count` equal holds since `first_at` are one entry."""
    return {"decisions": [to_plain(run) for run in runs]}


def history(board: StatusBoard, fleet: str, since: float) -> dict[str, Any]:
    """Figures for charts, oldest first, without the parts that do not change."""
    return {"points": [to_plain(point) for point in board.history(fleet, since)]}


def client_figures(path: Path | None) -> dict[str, Any]:
    """What the clients measured: the last whole line of a JSON-lines file. `client` is null where there is none."""
    return {"client": _last_object(path) if path is not None else None}


def _last_object(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None

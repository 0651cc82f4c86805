"""From the files of a local run to its report: what clients saw, how many replicas there were, what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller.cli.local_run import LocalRun
from controller.record.journal_reader import read as read_journal
from engine.load.judge import FleetSize, Run, judge
from engine.load.records import Results, read_results
from engine.load.report import Report, Write


def report_of(run: LocalRun, *, timeline: Path, journal: Path, results: Path, source: str, ended_at: float) -> Report:
    """Judge a run that has ended. Raises UsageError where its files cannot be read."""
    found = read_results(results)
    load = run.scenario.load_window if run.trace is None else None
    start = found.start.started_at
    rows = list(_rows(timeline))
    return judge(
        Run(
            scenario=run.scenario.name if run.trace is None else run.trace.name,
            engine=run.engine,
            metrics_source=source,
            seed=run.seed,
            objectives=run.scenario.objectives,
            results=found,
            timeline=list(_sizes(rows)),
            writes=_writes(rows, journal, found),
            decisions=_decisions(journal, start),
            ended_at=ended_at,
            load_start_at=start + load.start_s if load else None,
            load_end_at=start + load.end_s if load else None,
        )
    )


def _rows(timeline: Path) -> Iterator[dict[str, Any]]:
    """Whole lines: a kill or a full disk leaves torn ones."""
    with timeline.open(encoding="utf-8") as lines:
        for line in lines:
            with suppress(ValueError):
                yield json.loads(line)


def _sizes(rows: list[dict[str, Any]]) -> Iterator[FleetSize]:
    """Counts over all variants whenever one of them changed."""
    latest: dict[tuple[str, str], tuple[int, int, int]] = {}
    for row in rows:
        if row["event"] != "counts":
            continue
        starting = row["starting"] + row.get("pending", 0)
        latest[row["fleet"], row["variant"]] = (starting, row["ready"], row["draining"])
        starting, ready, draining = (sum(counts) for counts in zip(*latest.values(), strict=True))
        yield FleetSize(at=row["at"], starting=starting, ready=ready, draining=draining)


def _writes(rows: list[dict[str, Any]], journal: Path, results: Results) -> list[Write]:
    """The orders that reached the supervisor since the traffic began, with the reason from the journal."""
    reasons = dict(_reasons(journal))
    found = []
    for row in rows:
        if row["event"] != "scaled" or row["at"] < results.start.started_at:
            continue
        reason, sentence = _nearest(reasons, row["at"], row["variant"], row["after"])
        found.append(
            Write(
                at=row["at"],
                variant=row["variant"],
                before=row["before"],
                after=row["after"],
                reason=reason,
                sentence=sentence,
            )
        )
    return found


def _reasons(journal: Path) -> Iterator[tuple[tuple[float, str, int], tuple[str, str]]]:
    for entry in read_journal(journal):
        if entry.kind == "cycle" and entry.writes:
            decision = entry.decision
            for write in entry.writes:
                yield (decision.at, write.variant, write.replicas), (decision.reason.value, decision.sentence)


def _nearest(
    reasons: dict[tuple[float, str, int], tuple[str, str]], at: float, variant: str, replicas: int
) -> tuple[str, str]:
    """The journalled decision that the order came from: the last one before it with the same number."""
    fitting = [key for key in reasons if key[1:] == (variant, replicas) and key[0] <= at + 1.0]
    return reasons[max(fitting)] if fitting else ("", "")


def _decisions(journal: Path, since: float) -> int:
    return sum(entry.kind == "cycle" and entry.at >= since for entry in read_journal(journal))


def lost_decisions(log: Path) -> int:
    """Decisions that the daemon's lives said they could not journal; as far as the disk took that."""
    with suppress(OSError), log.open(encoding="utf-8", errors="replace") as lines:
        return sum(_lost(line) for line in lines)
    return 0


def _lost(line: str) -> int:
    """Of one line of the log, most of which tell of something else."""
    if '"decisions lost"' not in line:
        return 0
    with suppress(ValueError):
        event = json.loads(line)
        return int(event["lost"]) if event.get("event") == "decisions lost" else 0
    return 0

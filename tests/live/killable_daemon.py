"""The daemon, composed as `governor run` composes it, that can kill itself before or after any of its side effects.

    python -m tests.live.killable_daemon --fleet FILE --supervisor URL --state-dir DIR --effects FILE
        [--kill "up/scale:before"]

Every effect is named by the stage it falls into and what it is: `start/save` is the first saving of memory, `up/scale`
the order of a scale-up, `quiet-2/append` a line of the journal between two writes. The names go to the effects file,
one a line, before the effect. Intervals are short, so that an episode takes seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from controller.cli import logs
from controller.cli.compose import compose
from controller.cli.place_local import local_place
from controller.cli.serve import serve
from controller.loop import Loop
from controller.model.decision import Outcome, ScaleWrite
from controller.model.memory import FleetMemory
from controller.ports import CycleRecord, Journal, MemoryStore, ReplicaWriter
from controller.settings import Settings


class Effects:
    """Names side effects, notes them, and kills this process at the chosen one."""

    def __init__(self, file: Path, kill: str) -> None:
        self._file = file
        self._kill = kill
        self._stage = ""
        self._quiet = 0

    def cycle(self, memories: Mapping[str, FleetMemory]) -> None:
        """A cycle begins to act: which stage it is part of shows in the orders it is about to save."""
        orders = [write for memory in memories.values() for write in memory.intent]
        if orders:
            self._stage = "up" if orders[0].replicas > orders[0].current else "down"
        elif not self._stage:
            self._stage = "start"
        elif not self._stage.startswith("quiet"):
            self._quiet += 1
            self._stage = f"quiet-{self._quiet}"

    def before(self, effect: str) -> None:
        name = f"{self._stage}/{effect}"
        with self._file.open("a") as lines:
            lines.write(f"{name}\n")
        self._die_at(f"{name}:before")

    def after(self, effect: str) -> None:
        self._die_at(f"{self._stage}/{effect}:after")

    def _die_at(self, point: str) -> None:
        if point == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)


class CountedStore:
    """A `MemoryStore` whose savings are side effects."""

    def __init__(self, store: MemoryStore, effects: Effects) -> None:
        self._store = store
        self._effects = effects

    def load(self) -> Mapping[str, FleetMemory]:
        return self._store.load()

    def set_aside(self) -> str:
        return self._store.set_aside()

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        self._effects.cycle(memories)
        self._effects.before("save")
        self._store.save(memories)
        self._effects.after("save")


class CountedJournal:
    """A `Journal` whose lines are side effects."""

    def __init__(self, journal: Journal, effects: Effects) -> None:
        self._journal = journal
        self._effects = effects

    def append(self, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> None:
        self._effects.before("append")
        self._journal.append(records, memories)
        self._effects.after("append")

    def outcomes(self, at: float, outcomes: Sequence[Outcome]) -> None:
        self._effects.before("outcomes")
        self._journal.outcomes(at, outcomes)
        self._effects.after("outcomes")


class CountedWriter:
    """A `ReplicaWriter` whose orders are side effects."""

    def __init__(self, writer: ReplicaWriter, effects: Effects) -> None:
        self._writer = writer
        self._effects = effects

    def scale(self, write: ScaleWrite) -> Outcome:
        self._effects.before("scale")
        outcome = self._writer.scale(write)
        self._effects.after("scale")
        return outcome


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--fleet", "--state-dir", "--effects"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--supervisor", required=True)
    parser.add_argument("--kill", default="")
    options = parser.parse_args()
    logs.configure("json", verbose=True)
    settings = Settings(
        supervisor_url=options.supervisor,
        state_dir=options.state_dir,
        listen_port=0,
        tick_interval_s=0.5,
        wake_interval_s=0.25,
        query_timeout_s=0.45,
        scrape_interval_s=0.5,
        rate_window_s=2.0,
        stale_after_s=2.0,
    )
    daemon = compose(settings, partial(local_place, options.fleet, settings))
    effects, parts = Effects(options.effects, options.kill), daemon.adapters
    adapters = replace(
        parts,
        store=CountedStore(parts.store, effects),
        journal=CountedJournal(parts.journal, effects),
        writer=CountedWriter(parts.writer, effects),
    )
    serve(replace(daemon, adapters=adapters, loop=Loop(adapters, settings)), None)


if __name__ == "__main__":
    main()

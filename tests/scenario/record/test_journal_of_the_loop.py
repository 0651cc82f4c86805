"""The whole loop in virtual time on real files: killed and restarted, its journal replays bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from controller.model.decision import Action
from controller.model.fleet import Fleet
from controller.plan import plan
from controller.record.board import StatusBoard
from controller.record.journal import JournalFolder
from controller.record.memory import MemoryFile
from controller.record.replaying import replay
from engine.load.arrivals import Arrival
from engine.profile_files import find_profile
from engine.sim.card import card_for
from tests.scenario.controller.virtual import VirtualStack
from tests.unit.record.cycles import a_fleet

STEP_AT_S, CRASH_AT_S, CHANGE_AT_S, END_S = 40, 70, 90, 140


def arrivals() -> list[Arrival]:
    """4 requests/s, 12 from the step on."""
    dice, at, found = random.Random(3), 0.0, []
    while at < END_S:
        at += dice.expovariate(4.0 if at < STEP_AT_S else 12.0)
        found.append(Arrival(at, dice.randint(50, 1500), dice.randint(20, 300)))
    return found


class OnDisk:
    """A virtual stack whose memory, journal and board are the real ones."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        prior = find_profile(fleet.spec.model_name, "l40s")
        slower = replace(prior, law=replace(prior.law, base_s=prior.law.base_s * 1.2))
        self.stack = VirtualStack(fleet, card_for(slower), prior, arrivals(), start=2)
        self.board = StatusBoard(self.stack.clock)
        self.folder = folder
        self.journal: JournalFolder | None = None
        self.start()

    def start(self) -> None:
        """A daemon that knows nothing but what lies on the disk."""
        if self.journal is not None:
            self.journal.close()
        self.journal = JournalFolder(self.folder / "journal", "0.1.0", segment_bytes=60_000)
        file, remembered = MemoryFile(self.folder / "memory.json"), self.stack.remembered
        remembered.load, remembered.save = file.load, file.save
        remembered.append, remembered.outcomes = self.journal.append, self.journal.outcomes
        remembered.publish = self.board.publish
        self.stack.restart_daemon()


@pytest.fixture
def ran(tmp_path: Path) -> OnDisk:
    disk = OnDisk(a_fleet("llama-8b"), tmp_path)
    disk.stack.run(CRASH_AT_S)
    disk.start()
    disk.stack.run(CHANGE_AT_S - CRASH_AT_S)
    disk.stack.change_fleet(headroom=0.3)
    disk.stack.run(END_S - CHANGE_AT_S)
    return disk


def test_every_decision_of_a_run_with_a_crash_and_a_changed_fleet_replays_bit_for_bit(ran: OnDisk) -> None:
    assert ran.journal is not None
    ran.journal.close()
    found = replay(ran.folder, plan)
    assert found.first is None
    assert found.equal >= END_S / ran.stack.settings.tick_interval_s - 1
    assert found.files > 2
    assert any(run.decision.action is Action.UP for run in ran.board.decisions("llm/llama-8b", 100))


def test_the_memory_on_disk_is_the_one_that_the_last_decision_left(ran: OnDisk) -> None:
    (record,) = ran.board.records()
    assert MemoryFile(ran.folder / "memory.json").load() == {"llm/llama-8b": record.plan.memory}

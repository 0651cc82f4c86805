"""Replicas that can be told to misbehave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.local.launch import Command, Launch, SimulatedLauncher


class SwitchedLauncher:
    """Simulated replicas that take orders on /faults; while the file `stuck` exists, new ones never become ready."""

    def __init__(self, stuck: str, **options: Any) -> None:
        self._stuck = Path(stuck)
        self._simulated = SimulatedLauncher(**options)

    def command(self, launch: Launch) -> Command:
        command = self._simulated.command(launch)
        never = ("--never-ready",) if self._stuck.exists() and not launch.initial else ()
        return replace(command, argv=(*command.argv, "--faults", *never))

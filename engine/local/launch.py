"""How one replica is started: the command line of the process behind it.

A launcher is anything with `command(launch)`. The supervisor builds it from its configuration, so another engine
brings its own: `LauncherConfig(factory="engine.real.launcher:RealLauncher", options={...})`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

from controller.errors import UsageError
from engine.local.config import LauncherConfig


@dataclass(frozen=True, slots=True)
class Launch:
    """One replica to be started. It has to serve vLLM's HTTP API on 127.0.0.1:`port`."""

    name: str
    port: int
    fleet: str
    """namespace/name."""
    variant: str
    model: str
    """The model name that it has to answer to."""
    initial: bool
    """Part of the fleet that the supervisor starts with."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `env` is added to the supervisor's environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


class ReplicaLauncher(Protocol):
    """Makes command lines of replicas."""

    def command(self, launch: Launch) -> Command:
        """The command of one replica. Called again, with another port, for each restart."""
        ...


class CommandLauncher:
    """A fixed command line in which {port}, {name}, {variant} and {model} are filled in."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._argv = tuple(argv)
        self._env = dict(env or {})

    def command(self, launch: Launch) -> Command:
        """The filled-in command."""
        known = {"port": launch.port, "name": launch.name, "variant": launch.variant, "model": launch.model}
        return Command(tuple(part.format_map(known) for part in self._argv), self._env)


class SimulatedLauncher:
    """`engine.serve`: a simulated replica.

    `profiles` names the truth of each variant, by its name; `cold_start_s` replaces the profile's cold start, and
    `initial_cold_start_s` that of the replicas a run begins with. Each replica has a seed of its own, made of `seed`
    and its name: the same run gives the same replicas, but not twins. `arguments` are passed on to every replica.
    """

    def __init__(
        self,
        profiles: Mapping[str, str],
        cold_start_s: float | None = None,
        initial_cold_start_s: float | None = None,
        seed: int = 0,
        arguments: Sequence[str] = (),
    ) -> None:
        self._profiles = dict(profiles)
        self._cold_start_s = cold_start_s
        self._initial_cold_start_s = cold_start_s if initial_cold_start_s is None else initial_cold_start_s
        self._seed = seed
        self._arguments = tuple(arguments)

    def command(self, launch: Launch) -> Command:
        """The server's command line. Raises UsageError for a variant without a profile."""
        profile = self._profiles.get(launch.variant)
        if profile is None:
            raise UsageError(f"variant {launch.variant} of {launch.fleet} has no engine profile: name one for it")
        cold_start_s = self._initial_cold_start_s if launch.initial else self._cold_start_s
        delay = () if cold_start_s is None else ("--cold-start", f"{cold_start_s:g}")
        argv = ("-m", "engine.serve", "--profile", profile, "--port", str(launch.port), "--model", launch.model)
        seed = ("--seed", str(crc32(f"{self._seed} {launch.name}".encode())))
        return Command((sys.executable, *argv, *delay, *seed, "--stdin-lifeline", *self._arguments))


def load_launcher(config: LauncherConfig) -> ReplicaLauncher:
    """The launcher that a configuration names. Raises UsageError when there is none or its options do not fit."""
    module, _, name = config.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
        launcher: ReplicaLauncher = factory(**config.options)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"no replica launcher {config.factory}: {error}") from error
    except TypeError as error:
        raise UsageError(f"the options of replica launcher {config.factory} do not fit: {error}") from error
    return launcher

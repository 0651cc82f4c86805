"""The life of one replica: start, become ready, serve, drain, end. What the kubelet does for a pod."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from controller.errors import GovernorError
from controller.model.snapshot import Replica, ReplicaPhase
from engine.local.config import Times
from engine.local.eventlog import EventLog
from engine.local.launch import Launch, ReplicaLauncher
from engine.local.ports import LOOPBACK, free_port
from engine.local.pressure import load_of
from engine.local.process import Process, describe_exit

_POLL_S = 0.1
_UNHEALTHY_PROBES = 3
"""Answers other than 200 in a row after which a ready replica is taken for dead. Silence is none: it has to last."""
_UNANSWERED = 6
"""Requests in a row that must have found no answer besides: a supervisor that was held up itself has not asked."""
_QUIET_LOOKS = 2
"""Looks in a row that must see no request before a draining replica is ended."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a replica needs of the place it runs in."""

    launcher: ReplicaLauncher
    times: Times
    http: aiohttp.ClientSession
    logs: Path
    events: EventLog


class ReplicaLife:
    """One replica. `live()` is its whole life; `leave()` asks it to go; `changed` is called after each change."""

    def __init__(
        self, launch: Launch, drain_budget_s: float, around: Surroundings, changed: Callable[[], None]
    ) -> None:
        self.launch = launch
        self.created_at = time.time()
        self.ready_at: float | None = None
        self.phase = ReplicaPhase.STARTING
        self.load: float | None = None
        self.died = False
        """It was ready once and ended without being asked to."""
        self.gone = False
        """Nothing of it is left."""
        self._detail = ""
        self._drain_budget_s = drain_budget_s
        self._around = around
        self._changed = changed
        self._leaving = asyncio.Event()
        self._process: Process | None = None
        self._answered_at = 0.0
        self._unanswered = 0

    @property
    def name(self) -> str:
        """Its name, never used again."""
        return self.launch.name

    @property
    def leaving(self) -> bool:
        """Whether it was asked to go."""
        return self._leaving.is_set()

    @property
    def address(self) -> str:
        """host:port of its server."""
        return f"{LOOPBACK}:{self.launch.port}"

    def leave(self) -> None:
        """Ask it to go: at once when it never took requests, else after its running ones."""
        self._leaving.set()
        self._enter(ReplicaPhase.DRAINING, "asked to leave")

    def seen(self) -> Replica:
        """The replica as the cluster shows it."""
        return Replica(
            self.name, self.phase, self.created_at, self.ready_at, self.load, detail=self._detail, address=self.address
        )

    async def live(self) -> None:
        """Run until it has left, or died after having been ready. Never raises but when cancelled."""
        try:
            if await self._start_until_ready():
                await self._serve()
                await self._drain()
        finally:
            await self._end()
            self.gone = True
            self._changed()

    async def _start_until_ready(self) -> bool:
        """Start, and start again with growing pauses, until it is ready (True) or asked to leave (False)."""
        pause_s = self._around.times.backoff_s
        history = ""
        failures = 0
        while not self.leaving:
            fault = self._start(f"loading{history}") or await self._until_ready()
            if not fault:
                break
            failures += 1
            history = f", after {failures} failed {'start' if failures == 1 else 'starts'}: {fault}"
            self._enter(ReplicaPhase.FAILED, f"tries again in {pause_s:g} s{history}")
            await self._sleep_unless_leaving(pause_s)
            pause_s = min(2 * pause_s, self._around.times.backoff_max_s)
        return self.ready_at is not None

    def _start(self, detail: str) -> str:
        """Start the process; returns what went wrong, empty if nothing did."""
        try:
            self.launch = replace(self.launch, port=free_port())
            command = self._around.launcher.command(self.launch)
            log = self._around.logs / f"{self.name}.log"
            self._process = Process(self.name, command.argv, log, env={**os.environ, **command.env})
        except GovernorError as error:
            return str(error)
        self._around.events.write("started", replica=self.name, pid=self._process.pid, argv=list(command.argv))
        self._enter(ReplicaPhase.STARTING, detail)
        return ""

    async def _until_ready(self) -> str:
        """Wait for /health; returns why it will not come, empty when ready or asked to leave."""
        while not self.leaving:
            if not self._running():
                return self._obituary()
            if await self._health() == 200:
                self.ready_at = time.time()
                self._enter(ReplicaPhase.READY, "")
                return ""
            await self._sleep_unless_leaving(self._around.times.probe_s)
        return ""

    async def _serve(self) -> None:
        """Watch it until it dies, hangs or is asked to leave."""
        unhealthy = 0
        self._answered()
        while not self.leaving and self._running():
            self.load = await self._read_load()
            status = await self._health()
            unhealthy = 0 if status in (None, 200) else unhealthy + 1
            if unhealthy >= _UNHEALTHY_PROBES or self._silent():
                break
            await self._pause_while_alive(self._around.times.load_s)
        if not self.leaving:
            self.died = True
            self._enter(ReplicaPhase.FAILED, self._obituary())

    async def _drain(self) -> None:
        """Wait until no request can be on its way, then until none is left or the budget is spent."""
        if not self._running() or self.died:
            return
        begun = time.monotonic()
        await asyncio.sleep(self._around.times.propagation_s)
        quiet = 0
        while quiet < _QUIET_LOOKS and self._running():
            waited_s = time.monotonic() - begun
            if waited_s > self._drain_budget_s:
                self._around.events.write("drain_budget_spent", replica=self.name, load=self.load, waited_s=waited_s)
                return
            self.load = await self._read_load()
            quiet = quiet + 1 if self.load == 0 else 0
            self._detail = "waiting for running requests" if self.load is None else f"{self.load:g} requests left"
            await asyncio.sleep(self._around.times.probe_s)

    async def _end(self) -> None:
        """Make sure that nothing of it is left."""
        process = self._process
        if process is None:
            return
        if process.exit_code() is None:
            process.terminate()
            deadline = time.monotonic() + self._around.times.grace_s
            while process.exit_code() is None and time.monotonic() < deadline:
                await asyncio.sleep(_POLL_S)
        if process.exit_code() is None:
            process.kill()
            while process.exit_code() is None:
                await asyncio.sleep(_POLL_S)
        self._around.events.write("ended", replica=self.name, code=process.exit_code(), asked=self.leaving)

    def _running(self) -> bool:
        return self._process is not None and self._process.exit_code() is None

    def _answered(self) -> None:
        self._answered_at, self._unanswered = time.monotonic(), 0

    def _silent(self) -> bool:
        """Whether it has answered nothing at all for longer than a busy machine explains."""
        silence_s = time.monotonic() - self._answered_at
        return self._unanswered >= _UNANSWERED and silence_s >= self._around.times.silence_s

    def _obituary(self) -> str:
        code = self._process.exit_code() if self._process else None
        if self._process is None or code is None:
            if self._silent():
                return f"it runs, but has not answered for {self._around.times.silence_s:g} s"
            return "its /health answers that it is not healthy"
        words = self._process.last_words()
        return f"it {describe_exit(code)}" + (f" ({words})" if words else "")

    def _enter(self, phase: ReplicaPhase, detail: str) -> None:
        if self.phase is not phase:
            self._around.events.write("phase", replica=self.name, phase=phase.value, detail=detail)
        self.phase, self._detail = phase, detail
        self._changed()

    async def _health(self) -> int | None:
        """The status of GET /health; None without an answer."""
        return (await self._get("/health"))[0]

    async def _read_load(self) -> float | None:
        status, page = await self._get("/metrics")
        return load_of(page) if status == 200 else None

    async def _get(self, path: str) -> tuple[int | None, str]:
        timeout = aiohttp.ClientTimeout(total=self._around.times.request_timeout_s)
        try:
            async with self._around.http.get(f"http://{self.address}{path}", timeout=timeout) as answer:
                self._answered()
                return answer.status, await answer.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            self._unanswered += 1
            return None, ""

    async def _sleep_unless_leaving(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._leaving.wait(), seconds)
        except TimeoutError:
            return

    async def _pause_while_alive(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.leaving and self._running() and time.monotonic() < deadline:
            await self._sleep_unless_leaving(_POLL_S)

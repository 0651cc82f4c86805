"""The whole system on one machine, started and ended as one.

    config = SupervisorConfig(
        fleets=(FleetConfig.of(fleet, replicas={"v1": 2}),),
        launcher=LauncherConfig(options={"profiles": {"v1": "l40s-8b"}, "cold_start_s": 15}),
    )
    with LocalStack(config, StackOptions(scrape_interval_s=2.0)) as stack:        # Envoy, Prometheus, supervisor
        stack.start_daemon([sys.executable, "-m", "controller.cli.main", "run", ..., stack.addresses.supervisor])
        stack.wait_until_ready(timeout_s=60)                                      # the replicas it starts with
        stack.start_load([sys.executable, "-m", "engine.load", "--target", stack.addresses.proxy, ...])
        while stack.load_exit_code() is None:
            stack.check()                                                         # raises when something is beyond hope
            time.sleep(0.5)

Leaving the `with` block, by whatever way, ends everything in order: load, daemon, Envoy, supervisor with its
replicas, Prometheus. SIGTERM and SIGHUP leave it as Ctrl-C does, through KeyboardInterrupt. kill -9 of this process
ends everything too, for every process is on a tether. The daemon, Envoy and Prometheus are started again when they
die; the supervisor is the cluster, and its death is the end (`check()` says so).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from controller.errors import PermanentError, UsageError
from engine.local.config import SupervisorConfig
from engine.local.envoy import EnvoyFiles, envoy_command
from engine.local.files import replace_text
from engine.local.interrupts import Interrupts
from engine.local.kept import ALWAYS, MISTAKE, NEVER, Kept
from engine.local.ports import LOOPBACK, chosen_port, free_port
from engine.local.prometheus import prometheus_binary, prometheus_command, write_prometheus_config
from engine.local.run_dir import EVENTS_FILE, TIMELINE_FILE, logs_dir, new_run_dir

_START_TIMEOUT_S = 20.0
_LOOK_S = 0.2
_GRACE_S = 5.0
_NO_PROMETHEUS = (
    "Prometheus is not installed: the daemon reads the replicas directly. To have one: sudo apt-get install prometheus"
)


@dataclass(frozen=True, slots=True)
class StackOptions:
    """How the stack is run. `run_dir` defaults to a new folder under .governor/runs."""

    run_dir: Path | None = None
    scrape_interval_s: float = 2.0
    proxy_port: int = 0
    """Where clients send requests; 0: any free port."""
    prometheus: bool = True
    """False: none, even where it is installed."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """URLs on loopback."""

    proxy: str
    """Envoy: where clients send requests."""
    proxy_admin: str
    """Envoy's admin interface: `/stats/prometheus`."""
    supervisor: str
    prometheus: str | None
    """None: there is none, read the replicas directly."""


class LocalStack:
    """Envoy, Prometheus, supervisor, and on demand daemon and load generator. A context manager.

    Entering raises UsageError (a port in use, no Envoy, a folder that cannot be written) or PermanentError (a process
    that ended at its start, with its last words).
    """

    def __init__(self, config: SupervisorConfig, options: StackOptions | None = None) -> None:
        self._config = config
        self._options = options or StackOptions()
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._interrupts = Interrupts()
        self._watcher = threading.Thread(target=self._watch, name="stack", daemon=True)
        self.notes: list[str] = []
        """What a user should be told."""

    @property
    def events(self) -> Path:
        """What happened to replica processes, as JSON lines."""
        return self.run_dir / EVENTS_FILE

    @property
    def timeline(self) -> Path:
        """Replica counts, orders and weights over time, as JSON lines."""
        return self.run_dir / TIMELINE_FILE

    def log(self, name: str) -> Path:
        """The log of "envoy", "prometheus", "supervisor", "daemon", "load" or of a replica."""
        return logs_dir(self.run_dir) / f"{name}.log"

    def __enter__(self) -> Self:
        self._interrupts.catch()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self.run_dir = new_run_dir(self._options.run_dir)
        proxy = chosen_port(self._options.proxy_port, "the proxy (Envoy)")
        admin, supervisor, metrics = free_port(), free_port(), free_port()
        binary = prometheus_binary() if self._options.prometheus else None
        if self._options.prometheus and binary is None:
            self.notes.append(_NO_PROMETHEUS)
        self.addresses = Addresses(
            _url(proxy), _url(admin), _url(supervisor), _url(metrics) if binary is not None else None
        )
        try:
            self._start_envoy(proxy, admin)
            targets = self._start_prometheus(binary, metrics, admin) if binary else None
            self._start_supervisor(supervisor, targets)
        except OSError as error:
            raise UsageError(f"{self.run_dir} cannot be written: {error.strerror}; choose another folder") from error
        self._watcher.start()
        self._await("envoy", f"{self.addresses.proxy_admin}/ready")
        self._await("supervisor", f"{self.addresses.supervisor}/healthz")
        if self.addresses.prometheus:
            self._await("prometheus", f"{self.addresses.prometheus}/-/ready")

    def _start_envoy(self, port: int, admin_port: int) -> None:
        folder = self.run_dir / "envoy"
        EnvoyFiles(folder).prepare(self._config.fleets, port, admin_port)
        self._keep("envoy", envoy_command(folder))

    def _start_prometheus(self, binary: str, port: int, admin_port: int) -> Path:
        folder = self.run_dir / "prometheus"
        targets = folder / "targets.json"
        config = write_prometheus_config(folder, targets, admin_port, self._options.scrape_interval_s)
        self._keep("prometheus", prometheus_command(binary, config, port))
        return targets

    def _start_supervisor(self, port: int, targets: Path | None) -> None:
        config = self.run_dir / "supervisor.json"
        replace_text(config, self._config.model_dump_json(by_alias=True, indent=1))
        argv = [sys.executable, "-m", "engine.local.supervisor", "--stdin-lifeline"]
        argv += ["--config", str(config), "--port", str(port), "--run-dir", str(self.run_dir)]
        argv += ["--envoy-dir", str(self.run_dir / "envoy")]
        argv += ["--targets-file", str(targets)] if targets else []
        self._keep("supervisor", argv, ALWAYS)

    def start_daemon(self, argv: Sequence[str], ready_url: str = "", timeout_s: float = _START_TIMEOUT_S) -> None:
        """Start the daemon, and start it again when it dies, unless with code 2: a mistake in what it was given.

        With `ready_url`, waits until that answers 200. Raises PermanentError when it ends before, or is too slow.
        """
        self._keep("daemon", argv, MISTAKE)
        if ready_url:
            self._await("daemon", ready_url, timeout_s)

    def start_load(self, argv: Sequence[str]) -> None:
        """Start the load generator. Its output is the log "load"."""
        self._keep("load", argv, ALWAYS)

    def load_exit_code(self) -> int | None:
        """The load generator's exit code; None while it runs."""
        return self._kept["load"].process.exit_code()

    @property
    def daemon_restarts(self) -> int:
        """How often the daemon was started again."""
        return self._kept["daemon"].restarts

    def pid(self, name: str) -> int:
        """Process id of a part: SIGKILL to it kills the part. Changes with each restart."""
        return self._kept[name].process.pid

    def suspend(self, name: str) -> None:
        """Kill "daemon", "prometheus" or "envoy" and leave it dead until `resume(name)`."""
        with self._lock:
            self._kept[name].suspend()

    def resume(self, name: str) -> None:
        """Start a suspended part again."""
        with self._lock:
            self._kept[name].resume()

    def check(self) -> None:
        """Raises PermanentError when a part has ended for good that should run."""
        for name, kept in self._kept.items():
            if kept.failure and name != "load":
                raise PermanentError(kept.failure)

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until every variant has all its replicas ready. Raises PermanentError when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            late = self._not_ready()
            if not late:
                return
            if time.monotonic() > deadline:
                raise PermanentError(f"not ready after {timeout_s:g} s: {'; '.join(late)}")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """End everything in order, and wait until it has ended. A second signal meanwhile kills the rest at once."""
        self._interrupts.ending()
        self._ending.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for name in ("load", "daemon"):
            self._end(name)
        for name in ("envoy", "supervisor", "prometheus"):
            if name in self._kept and self._kept[name].process.exit_code() is None:
                self._kept[name].process.terminate()
        for name in ("envoy", "supervisor", "prometheus"):
            self._end(name)
        self._interrupts.restore()

    def _end(self, name: str) -> None:
        kept = self._kept.get(name)
        if kept is None:
            return
        # The supervisor gives its replicas their grace first.
        grace_s = _GRACE_S + (self._config.times.grace_s if name == "supervisor" else 0.0)
        deadline = time.monotonic() + grace_s
        if kept.process.exit_code() is None:
            kept.process.terminate()
        while not self._interrupts.hurried and time.monotonic() < deadline and not kept.process.wait(_LOOK_S):
            continue
        kept.process.end(0.0)

    def _keep(self, name: str, argv: Sequence[str], final: Container[int] = NEVER) -> None:
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with self._lock:
            self._kept[name] = Kept(name, argv, self.log(name), env, final)

    def _watch(self) -> None:
        while not self._ending.wait(_LOOK_S):
            with self._lock:
                for kept in self._kept.values():
                    kept.look()

    def _await(self, name: str, url: str, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Wait until `url` answers 200. Raises PermanentError when the process ends before, or is too slow."""
        deadline = time.monotonic() + timeout_s
        while not _answers(url):
            self._kept[name].expect_running()
            if time.monotonic() > deadline:
                words = self._kept[name].process.last_words()
                raise PermanentError(f"{name} did not answer at {url} within {timeout_s:g} s: {words}")
            time.sleep(0.05)

    def _not_ready(self) -> list[str]:
        answer = requests.get(f"{self.addresses.supervisor}/v1/targets", timeout=5).json()["targets"]
        late = []
        for key, variants in answer.items():
            for name, target in variants.items():
                ready = sum(replica["phase"] == "Ready" for replica in target["replicas"])
                if ready < target["desired"]:
                    said = "; ".join(f"{r['name']} {r['phase']} {r['detail']}" for r in target["replicas"])
                    late.append(f"{key}/{name} has {ready} of {target['desired']} replicas ready ({said})")
        return late


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False

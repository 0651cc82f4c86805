"""Status and Events of a cycle, sent from a thread of their own: slow answers of the API server delay no cycle."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from controller.errors import TransientError
from controller.model.decision import Outcome
from controller.ports import CycleRecord
from controller.record.cluster_events import ClusterEvents
from controller.record.cluster_status import ClusterStatus

_LOOK_EVERY_S = 5.0
_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after one, two, … rounds in which the API server did not answer."""

_log = structlog.get_logger("governor")


class ClusterBoard:
    """`controller.ports.Board` that shows cycles on the Fleet objects. Of each fleet the latest cycle counts."""

    def __init__(self, status: ClusterStatus, events: ClusterEvents) -> None:
        self._status = status
        self._events = events
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failed = 0
        self._thread = threading.Thread(target=self._run, name="cluster-board", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def publish(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:  # noqa: ARG002 - of the protocol
        """Take these cycles to be shown; returns at once."""
        self._status.note(records)
        self._events.note(records, outcomes)
        self._wake.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, and end, within `timeout_s`. Never raises. Before the lease is given back."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()
            self._round()
            if self._failed:
                self._stop.wait(_BACKOFF_S[min(self._failed, len(_BACKOFF_S)) - 1])
                self._wake.set()  # what was kept is tried again, whether or not there is something new
        self._round()

    def _round(self) -> None:
        try:
            self._status.send()
            self._events.send()
        except TransientError as error:
            self._failed += 1
            _log.warning("status and events wait", error=str(error), failed=self._failed)
        except Exception:  # noqa: BLE001 - nothing that is only shown may end the thread that shows it
            self._failed += 1
            _log.exception("status and events: defect")
        else:
            self._failed = 0

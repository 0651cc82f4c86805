"""Where a defect in a whole cycle ends: logged with its traceback, counted, told; the next cycle goes on."""

from __future__ import annotations

from collections.abc import Callable

import structlog

_log = structlog.get_logger("governor")


class Boundary:
    """Around everything that runs on schedule. Each kind of run is only ever under way once."""

    def __init__(self) -> None:
        self.failed = 0
        """Runs that ended by a defect."""
        self._errors: dict[str, str] = {}

    @property
    def error(self) -> str:
        """What ended the last run of each kind, where it was a defect; empty where all ended well."""
        return "; ".join(self._errors.copy().values())

    def around(self, kind: str, run: Callable[[], object]) -> Callable[[], None]:
        """The run, never raising. `kind` is what it is called in events and errors."""

        def bounded() -> None:
            try:
                run()
            except Exception as error:  # noqa: BLE001 - the outermost boundary: logged with traceback, the daemon goes on
                self.failed += 1
                self._errors[kind] = f"the last {kind} failed by a defect ({_words(error)}): the log has its traceback"
                _log.exception("cycle failed: defect", kind=kind, failed=self.failed)
            else:
                self._errors.pop(kind, None)

        return bounded


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""What the daemon says of itself to those who ask: version, mode, and whether its disk takes what it writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """State of the process at one instant; counts are since its start."""

    version: str
    dry_run: bool = False
    leading: bool = True
    """False: another instance decides and writes, this one stands by."""
    interval_s: float = 5.0
    queries: int = 0
    query_failures: int = 0
    unjournaled_records: int = 0
    lost_records: int = 0
    journal_error: str = ""
    """Why the journal's last write failed; empty when it did not."""
    memory_error: str = ""
    fleet_errors: tuple[str, ...] = ()
    """Why newest versions of fleets were refused."""
    failed_cycles: int = 0
    """Full cycles and light looks that ended by a defect."""
    cycle_error: str = ""
    """What ended the last of them; empty when they ended well."""

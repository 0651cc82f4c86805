"""The place that a local stack is: fleets in a file, replicas behind its supervisor, memory in a folder."""

from __future__ import annotations

from pathlib import Path

from controller.act.local import LocalReplicaWriter, LocalWeightWriter
from controller.cli.place import MEMORY_NAME, Place
from controller.cli.profiles import Profiles
from controller.errors import UsageError
from controller.observe.fleet_file import FleetFile, load_fleets
from controller.observe.local import LocalReplicaReader, LocalWeightReader
from controller.observe.scrape import check_reach
from controller.record.encoded import MemoryEncoder
from controller.record.memory import MemoryFile
from controller.settings import Settings


def local_place(fleet_path: Path, settings: Settings, encoder: MemoryEncoder) -> Place:
    """Raises UsageError for a fleet file or a profile that is wrong, and where the settings name no supervisor."""
    profiles, fleets = Profiles(fleet_path), load_fleets(fleet_path)
    for fleet in fleets:
        profiles(fleet)
    if settings.supervisor_url is None:
        raise UsageError(
            "--fleet is of a local stack: give --supervisor URL of a local stack, or start the whole system with "
            "`governor local`; in a cluster fleets are resources, made with `kubectl apply`"
        )
    if settings.prometheus_url is None:
        check_reach(fleets)
    supervisor_url = settings.supervisor_url
    file = MemoryFile(settings.state_dir / MEMORY_NAME, encoder)
    return Place(
        fleets=FleetFile(fleet_path),
        profiles=profiles,
        reader=LocalReplicaReader(supervisor_url),
        writer=LocalReplicaWriter(supervisor_url),
        weights=LocalWeightReader(supervisor_url),
        weight_writer=LocalWeightWriter(supervisor_url),
        store=file,
        memory_error=lambda: file.error,
    )

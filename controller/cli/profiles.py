"""Capacity profiles of a fleet's variants: the priors that planning starts from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from controller.errors import UsageError
from controller.model.fleet import Fleet, Variant
from engine.profile import Profile
from engine.profile_files import find_profile, load_profile, shipped_names


class Profiles:
    """Named in the fleet, else found by model and accelerator. Read once each.

    A profile file is named relative to the fleet's file (or to a folder of them). None: only shipped ones count, for
    whoever may write a Fleet into a cluster must not choose what the daemon reads from its disk.
    """

    def __init__(self, fleet_path: Path | None) -> None:
        self._folder = fleet_path.parent if fleet_path is not None and not fleet_path.is_dir() else fleet_path
        self._load = lru_cache(maxsize=256)(self._read)

    def __call__(self, fleet: Fleet) -> Mapping[str, Profile]:
        """Profile by variant name. Raises UsageError naming the variant and the remedy."""
        return {v.name: self._of(fleet, v) for v in fleet.spec.variants}

    def _of(self, fleet: Fleet, variant: Variant) -> Profile:
        try:
            return self._load(variant.profile, fleet.spec.model_name, variant.accelerator)
        except UsageError as error:
            raise UsageError(f"fleet {fleet.key}, variant {variant.name}: {error}") from error

    def _read(self, name: str | None, model: str, accelerator: str) -> Profile:
        if name is None:
            return find_profile(model, accelerator)
        if self._folder is not None:
            path = self._folder / name
            return load_profile(path if path.is_file() else name)
        if name not in shipped_names():
            raise UsageError(f"profile {name!r} is no shipped one: name one of {', '.join(shipped_names())}")
        return load_profile(name)

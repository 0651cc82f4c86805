"""What the supervisor is told: fleets to run, how a replica is launched, and the times it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from controller.errors import UsageError
from controller.model.fields import Model, Name
from controller.model.fleet import Fleet

MOST_REPLICAS = 100
"""Processes of one variant: more on one machine is a slip of the finger."""


class VariantConfig(Model):
    """One variant: what stands in for its Deployment."""

    name: Name
    subset: Name
    target: Name
    """Name of the scale target: its replicas are called `<target>-<number>`."""
    replicas: int = Field(default=1, ge=0, le=MOST_REPLICAS)
    """How many it starts with."""
    drain_budget_s: float = Field(default=120.0, ge=0)
    """Longest wait for the running requests of a leaving replica."""


class FleetConfig(Model):
    """One served model and its share of traffic by subset, in percent."""

    namespace: Name
    name: Name
    host: Name
    model_name: str = Field(min_length=1)
    variants: tuple[VariantConfig, ...] = Field(min_length=1)
    weights: dict[Name, int]

    @property
    def key(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"

    @property
    def subsets(self) -> tuple[str, ...]:
        """Its subsets, in the order of its variants."""
        return tuple(dict.fromkeys(variant.subset for variant in self.variants))

    @model_validator(mode="after")
    def _consistent(self) -> FleetConfig:
        for what, names in (("names", [v.name for v in self.variants]), ("targets", [v.target for v in self.variants])):
            if len(set(names)) != len(names):
                raise ValueError(f"the {what} of variants must differ")
        fault = weights_fault(self.weights, self.subsets)
        if fault:
            raise ValueError(fault)
        return self

    @classmethod
    def of(
        cls, fleet: Fleet, replicas: Mapping[str, int] | None = None, weights: Mapping[str, int] | None = None
    ) -> FleetConfig:
        """A Fleet as the supervisor runs it.

        `replicas` by variant say how many it starts with (default: each variant's minimum); `weights` by subset
        how traffic is split (default: all to the first variant's subset).
        """
        spec = fleet.spec
        variants = tuple(
            VariantConfig(
                name=variant.name,
                subset=variant.subset,
                target=variant.scale_target_ref.name,
                replicas=(replicas or {}).get(variant.name, variant.replicas.min),
                drain_budget_s=spec.scaling.drain_budget,
            )
            for variant in spec.variants
        )
        split = weights or {v.subset: 100 if v.subset == variants[0].subset else 0 for v in variants}
        return cls(
            namespace=fleet.metadata.namespace,
            name=fleet.metadata.name,
            host=spec.host,
            model_name=spec.model_name,
            variants=variants,
            weights=dict(split),
        )


def weights_fault(weights: Mapping[str, int], subsets: tuple[str, ...]) -> str | None:
    """What is wrong with a split of traffic, or None."""
    unknown = sorted(set(weights) - set(subsets))
    if unknown:
        return f"no subset {unknown[0]!r} here: there is {', '.join(subsets)}"
    if any(not 0 <= weight <= 100 for weight in weights.values()):
        return "each weight must be from 0 to 100 percent"
    total = sum(weights.values())
    return None if total == 100 else f"weights must sum to 100 percent, these sum to {total}"


class Times(Model):
    """How often the supervisor looks and how long it waits, in seconds."""

    probe_s: float = Field(default=0.25, gt=0)
    """Between two looks at a starting replica's /health, or at a draining one's load."""
    load_s: float = Field(default=2.0, gt=0)
    """Between two looks at a ready replica's load."""
    request_timeout_s: float = Field(default=2.0, gt=0)
    silence_s: float = Field(default=30.0, gt=0)
    """For so long a ready replica whose process runs may answer nothing at all before it is replaced. Generous: on a
    busy machine every replica is slow, and one that is ended for it makes the others slower still."""
    propagation_s: float = Field(default=0.5, ge=0)
    """From the removal of a replica from the proxy's endpoints until no request can be on its way to it."""
    grace_s: float = Field(default=5.0, ge=0)
    """From SIGTERM to SIGKILL."""
    backoff_s: float = Field(default=1.0, gt=0)
    """Before the first restart of a replica that ended before it was ready; doubled each time."""
    backoff_max_s: float = Field(default=30.0, gt=0)


class LauncherConfig(Model):
    """Which launcher makes the command lines of replicas: `module:name` of a callable, and its keyword arguments."""

    factory: str = Field(default="engine.local.launch:SimulatedLauncher", pattern=r"^[\w.]+:\w+$")
    options: dict[str, Any] = Field(default_factory=dict)


class SupervisorConfig(Model):
    """The whole of it."""

    fleets: tuple[FleetConfig, ...] = Field(min_length=1)
    launcher: LauncherConfig = LauncherConfig()
    times: Times = Times()

    @model_validator(mode="after")
    def _distinct(self) -> SupervisorConfig:
        keys = [fleet.key for fleet in self.fleets]
        targets = [(fleet.namespace, variant.target) for fleet in self.fleets for variant in fleet.variants]
        if len(set(keys)) != len(keys):
            raise ValueError("two fleets have the same namespace and name")
        if len(set(targets)) != len(targets):
            raise ValueError("two variants share a scale target")
        if len({fleet.host for fleet in self.fleets}) != len(self.fleets):
            raise ValueError("two fleets have the same host, by which the proxy tells them apart")
        return self


def read_config(path: Path) -> SupervisorConfig:
    """The configuration in a YAML or JSON file. Raises UsageError naming the file and what is wrong in it."""
    try:
        return SupervisorConfig.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where or 'the file'}: {first['msg']}") from error

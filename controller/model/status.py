"""The status of a Fleet in the cluster: what the daemon last saw and did, for `kubectl` and for other controllers.

What was not read is left out, never zero. A field that this version does not know is passed over when a status is
read back: a newer daemon may have written it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from controller.model.fields import Count, Model, Name

_MOST_VARIANTS = 16
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=63)]
"""A cause or a state in one CamelCase word."""
Text = Annotated[str, StringConstraints(max_length=32_768)]
"""One sentence for people."""
ShortText = Annotated[str, StringConstraints(max_length=1024)]
"""A cell of a table."""
Percent = Annotated[int, Field(ge=0, le=100)]
"""Share of the traffic, in percent as Istio has it."""
Within = Annotated[float, Field(ge=0, le=1)]
"""Share of the requests that kept an objective."""


class StatusPart(Model):
    """Frozen, camelCase, unknown fields passed over."""

    model_config = ConfigDict(extra="ignore")


class VariantReplicas(StatusPart):
    """Replicas of one variant; a count that was not read is left out."""

    name: Name
    """Name of the variant."""
    desired: Count | None = None
    """Wanted by the scale target."""
    ready: Count | None = None
    """Serving."""
    starting: Count | None = None
    """On a node and loading."""
    draining: Count | None = None
    """Leaving: finishing the requests that they have."""
    pending: Count | None = None
    """Waiting for a node."""


class Attainment(StatusPart):
    """Share of the requests that kept each objective over the last window, as a ratio; unset: nothing to count."""

    ttft: Within | None = None
    """Within the TTFT threshold."""
    tpot: Within | None = None
    """Within the TPOT threshold."""
    availability: Within | None = None
    """Answered without error."""


class Summary(StatusPart):
    """The cells of `kubectl get fleets`, each as a text."""

    replicas: ShortText | None = None
    """Ready and wanted replicas of all variants: "3/4"."""
    weight: ShortText | None = None
    """Share of the traffic by subset: "v1 90, v2 10"."""
    attainment: ShortText | None = None
    """The objective that is kept least: "99.4%"."""


class StatusCondition(StatusPart):
    """A standing fact, as in every Kubernetes object."""

    type: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", min_length=1, max_length=316)]
    """What it is about, in one CamelCase word."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", min_length=1, max_length=1024)]
    """Cause of the last transition, in one CamelCase word."""
    message: Text = ""
    """The same for people, with numbers."""
    last_transition_time: AwareDatetime
    """When `status` last changed."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The `metadata.generation` that it was judged on."""


class LastDecision(StatusPart):
    """The last decision, in short; `governor explain` has all of it."""

    at: AwareDatetime
    """When it was made."""
    action: Word
    """Direction over the whole fleet: Up, Down, Shift, Hold."""
    reason: Word
    """The binding reason, in one CamelCase word."""
    sentence: Text
    """The decision for people: what, and why, with numbers."""
    before: dict[Name, Count] = Field(default_factory=dict, max_length=_MOST_VARIANTS)
    """Replicas by variant as they were."""
    after: dict[Name, Count] = Field(default_factory=dict, max_length=_MOST_VARIANTS)
    """Replicas by variant as they shall be."""


class FleetStatus(StatusPart):
    """What the daemon last saw and did. Written by the daemon alone."""

    phase: Word | None = None
    """Where the rollout stands, in one CamelCase word; `Stable` while there is none."""
    stable: Name | None = None
    """Subset that holds production traffic: a role, which a promotion moves."""
    canary: Name | None = None
    """Subset on trial; unset: none."""
    weights: dict[Name, Percent] = Field(default_factory=dict, max_length=_MOST_VARIANTS)
    """Share of the traffic by subset, in percent, as the mesh has it."""
    replicas: tuple[VariantReplicas, ...] = Field(default=(), max_length=_MOST_VARIANTS)
    """Replicas by variant."""
    ready_replicas: int | None = Field(default=None, ge=0, le=160_000)
    """Serving replicas of all variants together."""
    desired_replicas: int | None = Field(default=None, ge=0, le=160_000)
    """Wanted replicas of all variants together."""
    attainment: Attainment = Attainment()
    """How the objectives are kept."""
    summary: Summary = Summary()
    """The cells of `kubectl get fleets`."""
    last_decision: LastDecision | None = None
    """The last decision, in short."""
    conditions: tuple[StatusCondition, ...] = Field(default=(), max_length=32)
    """Standing facts, one for each type."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The `metadata.generation` that all this was judged on."""

    def document(self) -> dict[str, Any]:
        """As it stands in the resource: camelCase, instants as texts, what is unset left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

"""Faults that tests switch on: what a metrics page or a health probe can do wrong.

`POST /faults {"metrics": "nan"}` on a server started with `--faults`; `GET /faults` shows what is on.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from engine.serve.exposition import CUMULATIVE, Family, Sample

GARBAGE = "<html><body>502 Bad Gateway</body></html>\nvllm:num_requests_running{ 1 1 1\n\x00\x01"

MetricsFault = Literal["ok", "hang", "garbage", "nan", "reset", "duplicate"]


class FaultOrder(BaseModel):
    """What to switch; fields left out stay as they are. `reset` happens once, the others last until "ok"."""

    model_config = ConfigDict(extra="forbid")

    metrics: MetricsFault | None = None
    health: Literal["ok", "dead"] | None = None


class Faults:
    """The faults of one server."""

    def __init__(self) -> None:
        self.metrics: MetricsFault = "ok"
        self.dead = False
        self._reset_due = False
        self._zero: dict[str, dict[str, float]] = {}

    def apply(self, order: FaultOrder) -> None:
        """Switch."""
        if order.metrics == "reset":
            self._reset_due, self.metrics = True, "ok"
        elif order.metrics is not None:
            self.metrics = order.metrics
        if order.health is not None:
            self.dead = order.health == "dead"

    def state(self) -> dict[str, str]:
        """What is on."""
        return {"metrics": self.metrics, "health": "dead" if self.dead else "ok"}

    def distort(self, families: list[Family]) -> list[Family]:
        """The page's families as the faults make them."""
        if self._reset_due:
            self._reset_due = False
            self._zero = {f.name: dict(f.samples) for f in families if f.kind in CUMULATIVE}
        if self._zero:
            families = [self._since_reset(family) for family in families]
        if self.metrics == "nan":
            return [_without_numbers(family) for family in families]
        if self.metrics == "duplicate":
            return [Family(f.name, f.kind, f.samples + f.samples[:1]) for f in families]
        return families

    def _since_reset(self, family: Family) -> Family:
        zero = self._zero.get(family.name, {})
        return Family(family.name, family.kind, [(rest, value - zero.get(rest, 0)) for rest, value in family.samples])


def _without_numbers(family: Family) -> Family:
    samples: list[Sample] = [(rest, float("nan")) for rest, _ in family.samples]
    return Family(family.name, family.kind, samples) if family.name.startswith("vllm:") else family

"""Writers of a dry run. They are given no cluster, so they can change none."""

from __future__ import annotations

from collections.abc import Mapping

from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite


class DryRunReplicaWriter:
    """Stands where a `ReplicaWriter` stands, and says what would have been written."""

    def scale(self, write: ScaleWrite) -> Outcome:
        """The order, not sent."""
        return Outcome(write, OutcomeStatus.DRY_RUN, f"would scale {write.variant}: {write.current} → {write.replicas}")


class DryRunWeightWriter:
    """Stands where a `WeightWriter` stands, and writes nothing."""

    def set_weights(self, fleet: str, weights: Mapping[str, int]) -> None:
        """Nothing."""

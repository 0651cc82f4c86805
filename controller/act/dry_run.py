"""Writers of a dry run. They are given no cluster, so they can change none."""

from __future__ import annotations

from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite, WeightWrite
from controller.model.weights import moved_text


class DryRunReplicaWriter:
    """Stands where a `ReplicaWriter` stands, and says what would have been written."""

    def scale(self, write: ScaleWrite) -> Outcome:
        """The order, not sent."""
        return Outcome(write, OutcomeStatus.DRY_RUN, f"would scale {write.variant}: {write.current} → {write.replicas}")


class DryRunWeightWriter:
    """Stands where a `WeightWriter` stands, and says what would have been written."""

    def set_weights(self, write: WeightWrite) -> Outcome:
        """The order, not sent."""
        return Outcome(write, OutcomeStatus.DRY_RUN, f"would move traffic: {moved_text(write.before, write.weights)}")

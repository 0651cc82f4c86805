"""What the board keeps of one fleet: figures for charts, and decisions with equal holds folded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from controller.model.codec import from_json, to_json
from controller.model.decision import Action, Decision, Outcome
from controller.record.figures import Figures

HISTORY_S = 900.0
_POINTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class DecisionRun:
    """A decision, or consecutive holds for the same reason: the newest one stands for all."""

    first_at: float
    count: int
    decision: Decision
    outcomes: tuple[Outcome, ...] = ()


class DecisionLog:
    """The last decisions. All but the newest are kept as text, a tenth of the size of the values."""

    def __init__(self) -> None:
        self._newest: DecisionRun | None = None
        self._older: deque[bytes] = deque()

    def add(self, decision: Decision, outcomes: Sequence[Outcome], most: int) -> None:
        """Add a decision, folding it into the newest where it is the same hold again; keep at most `most`."""
        newest = self._newest
        if newest is not None and not outcomes and _continues(newest.decision, decision):
            self._newest = replace(newest, count=newest.count + 1, decision=decision)
            return
        if newest is not None:
            self._older.appendleft(to_json(newest))
        self._newest = DecisionRun(decision.at, 1, decision, tuple(outcomes))
        while len(self._older) >= most:
            self._older.pop()

    def newest_first(self) -> Iterator[DecisionRun]:
        """The runs, newest first."""
        if self._newest is not None:
            yield self._newest
        for text in self._older:
            yield from_json(DecisionRun, text)


class PointLog:
    """Figures of the last quarter of an hour, oldest first."""

    def __init__(self) -> None:
        self._points: deque[Figures] = deque(maxlen=_POINTS_MAX)

    def add(self, point: Figures) -> None:
        """Add the newest point."""
        self._points.append(point)
        while self._points[0].at < point.at - HISTORY_S:
            self._points.popleft()

    def since(self, at: float) -> list[Figures]:
        """The points after `at`."""
        return [point for point in self._points if point.at > at]


def _continues(one: Decision, other: Decision) -> bool:
    return (
        one.action is other.action is Action.HOLD
        and one.reason is other.reason
        and one.after == other.after
        and [(c.type, c.status) for c in one.conditions] == [(c.type, c.status) for c in other.conditions]
    )

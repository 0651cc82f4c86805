"""Finding the pods of a selector without looking at every pod for every target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.cluster.selectors import Operator, Requirement, Selector
from controller.observe.cluster_facts import PodFacts
from controller.observe.pods import GROUP_LABELS, group_of

_GROUP_NAME = GROUP_LABELS[0]


class PodIndex:
    """Pods by namespace and by the values of those labels that selectors ask for. For one state of the pods."""

    def __init__(self, pods: Iterable[PodFacts]) -> None:
        self._namespaces: dict[str, list[PodFacts]] = {}
        for pod in pods:
            self._namespaces.setdefault(pod.namespace, []).append(pod)
        self._labelled: dict[tuple[str, str], Mapping[str, list[PodFacts]]] = {}

    def selected(self, namespace: str, selector: Selector) -> list[PodFacts]:
        """Pods that the selector selects; of a LeaderWorkerSet, whose selector selects leaders, their workers too."""
        found = [pod for pod in self._candidates(namespace, selector) if selector.matches(pod.labels)]
        groups = {group for pod in found if (group := group_of(pod)) is not None}
        if not groups:
            return found
        there = {pod.name for pod in found}
        others = (pod for name in {name for name, _ in groups} for pod in self._with(namespace, _GROUP_NAME, name))
        return found + [pod for pod in others if group_of(pod) in groups and pod.name not in there]

    def _candidates(self, namespace: str, selector: Selector) -> Sequence[PodFacts]:
        """The fewest pods among which all selected ones are."""
        choices = [self._meeting(namespace, each) for each in selector.requirements if each.operator is Operator.IN]
        return min(choices, key=len) if choices else self._namespaces.get(namespace, [])

    def _meeting(self, namespace: str, requirement: Requirement) -> Sequence[PodFacts]:
        if len(requirement.values) == 1:
            return self._with(namespace, requirement.key, next(iter(requirement.values)))
        return [pod for value in requirement.values for pod in self._with(namespace, requirement.key, value)]

    def _with(self, namespace: str, label: str, value: str) -> Sequence[PodFacts]:
        by_value = self._labelled.get((namespace, label))
        if by_value is None:
            by_value = _by_value(self._namespaces.get(namespace, []), label)
            self._labelled[namespace, label] = by_value
        return by_value.get(value, [])


def _by_value(pods: Iterable[PodFacts], label: str) -> Mapping[str, list[PodFacts]]:
    found: dict[str, list[PodFacts]] = {}
    for pod in pods:
        value = pod.labels.get(label)
        if value is not None:
            found.setdefault(value, []).append(pod)
    return found

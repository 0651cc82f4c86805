"""What two fleets must not share: an object that is scaled, and the labels that tell their metrics apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.model.fleet import Fleet
from controller.model.problems import Problem, value_text

Claim = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clash:
    """Something that several fleets claim: by fleet key, in the order of the fleets, where and how it says so."""

    places: Mapping[str, Problem]

    def sentence(self, key: str, others: Mapping[str, str]) -> str:
        """What is wrong with fleet `key`; `others` names each other fleet, with its place where it has one."""
        named = " and ".join(others[other] for other in self.places if other != key)
        mine = self.places[key]
        return str(Problem(mine.path, mine.reason.format(others=named), mine.remedy, mine.value))


def clashes(fleets: Sequence[Fleet]) -> list[Clash]:
    """Everything that more than one of the fleets claims."""
    claimed: dict[Claim, dict[str, Problem]] = {}
    for fleet in fleets:
        for claim, problem in _claims(fleet):
            claimed.setdefault(claim, {}).setdefault(fleet.key, problem)
    return [Clash(places) for places in claimed.values() if len(places) > 1]


def _claims(fleet: Fleet) -> Iterator[tuple[Claim, Problem]]:
    """Each thing that is the fleet's alone, and what would be wrong if it were not."""
    namespace, model = fleet.metadata.namespace, fleet.spec.model_name
    for index, variant in enumerate(fleet.spec.variants):
        path, ref = ("spec", "variants", index), variant.scale_target_ref
        group = ref.api_version.rpartition("/")[0]
        yield (
            ("object", namespace, group, ref.kind, ref.name),
            Problem(
                (*path, "scaleTargetRef", "name"),
                "is scaled by {others} too",
                "name an object of its own for each fleet, or remove one of the fleets",
                value_text(ref.name),
            ),
        )
        yield (
            ("metrics", namespace, model, variant.name),
            Problem(
                (*path, "name"),
                "is a variant of the same model in {others} too: their metrics could not be told apart",
                "give each variant of the model a name of its own",
                value_text(variant.name),
            ),
        )

"""An http route of an Istio VirtualService: how it splits requests over a fleet's subsets, and the patch for another.

The managed destinations of a route are those whose host is the fleet's and whose subset one of its variants has. All
other destinations, routes and fields stay byte for byte. What the weights mean:

- Istio's weights are relative, a missing one is 0, and a destination that is alone gets everything. Percentages here
  are of what goes to the managed destinations together, rounded to whole ones that sum to 100.
- Where no other destination has weight, the managed ones are written as the percentages themselves.
- Where others have weight, the managed sum stays what it is (100 less the others' in a route that sums to 100), so
  that theirs keep their share. A percentage of that sum that is no whole weight cannot be written, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.model.weights import RouteRef, Weights

Document = Mapping[str, Any]
Operation = dict[str, Any]
"""One operation of a JSON Patch (RFC 6902)."""


class RouteError(ValueError):
    """The route is not what the Fleet says, or cannot be split as it wants: one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class _Destination:
    """One entry of the route: its place, its weight (None where it is left out), and its subset if it is managed."""

    index: int
    weight: int | None
    subset: str | None
    host: str

    @property
    def share(self) -> int:
        return self.weight or 0


@dataclass(frozen=True, slots=True)
class _Route:
    """The named route in its document."""

    ref: RouteRef
    index: int
    destinations: tuple[_Destination, ...]

    @property
    def managed(self) -> tuple[_Destination, ...]:
        return tuple(d for d in self.destinations if d.subset is not None)

    @property
    def others(self) -> int:
        """Weight of the destinations that are not managed."""
        return sum(d.share for d in self.destinations if d.subset is None)

    @property
    def alone(self) -> bool:
        """Whether there is one destination only: it gets everything, whatever its weight."""
        return len(self.destinations) == 1


def split_of(document: Document, ref: RouteRef, subsets: Sequence[str]) -> dict[str, int]:
    """Percent by subset of what goes to the managed destinations; a subset without a destination has 0.

    Raises RouteError.
    """
    route = _found(document, ref, subsets)
    shares = {d.subset: 100 if route.alone else d.share for d in route.managed if d.subset is not None}
    total = sum(shares.values())
    if total == 0:
        raise RouteError(f"{ref} sends nothing to subsets of {ref.host}: give one of them a weight")
    return dict.fromkeys(subsets, 0) | _percents(shares, total)


def weight_patch(document: Document, ref: RouteRef, weights: Weights) -> list[Operation]:
    """The guarded JSON Patch that splits the route so; empty where it is split so already. Raises RouteError.

    It fails as a whole where the object, the route's place or a managed destination is another one meanwhile.
    """
    route = _found(document, ref, [subset for subset, _ in weights])
    wanted = _written(route, weights)
    changes = [
        {"op": "add" if d.weight is None else "replace", "path": _path(route, d, "weight"), "value": wanted[d.subset]}
        for d in route.managed
        if d.subset is not None and not route.alone and wanted[d.subset] != d.share
    ]
    return [*_guards(document, route), *changes] if changes else []


def writers(document: Document, ours: str) -> str:
    """Who else has written the http routes, by `metadata.managedFields`, newest first; empty where nobody has."""
    entries = document.get("metadata", {}).get("managedFields") or ()
    others = [e for e in entries if isinstance(e, dict) and e.get("manager") != ours and _owns_routes(e)]
    others.sort(key=lambda e: str(e.get("time", "")), reverse=True)
    return ", ".join(dict.fromkeys(str(e.get("manager") or "somebody without a name") for e in others))


def _owns_routes(entry: Mapping[str, Any]) -> bool:
    spec = (entry.get("fieldsV1") or {}).get("f:spec")
    return isinstance(spec, dict) and "f:http" in spec


def _found(document: Document, ref: RouteRef, subsets: Sequence[str]) -> _Route:
    spec = document.get("spec")
    routes = spec.get("http") if isinstance(spec, dict) else None
    routes = routes if isinstance(routes, list) else []
    places = [i for i, route in enumerate(routes) if isinstance(route, dict) and route.get("name") == ref.route]
    if not places:
        names = [str(r["name"]) for r in routes if isinstance(r, dict) and r.get("name")]
        there = f"there is {', '.join(names)}" if names else "none of its http routes has a name"
        raise RouteError(f"there is no {ref}: {there}; name the route, or mend spec.traffic.virtualService.route")
    if len(places) > 1:
        raise RouteError(f"{ref} is there {len(places)} times: give each route a name of its own")
    entries = routes[places[0]].get("route")
    if not isinstance(entries, list) or not entries:
        raise RouteError(f"{ref} has no destinations (it redirects, or delegates): name a route that has")
    found = _Route(ref, places[0], tuple(_destination(i, e, ref, subsets) for i, e in enumerate(entries)))
    _check_once(found)
    return found


def _check_once(route: _Route) -> None:
    names = [d.subset for d in route.managed]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RouteError(f"{route.ref} has several destinations of subset {twice}: leave one of them")


def _destination(index: int, entry: object, ref: RouteRef, subsets: Sequence[str]) -> _Destination:
    place = entry.get("destination") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(place, dict):
        raise RouteError(f"destination {index} of {ref} is none: write its host, subset and weight")
    weight = entry.get("weight")
    if weight is not None and (not isinstance(weight, int) or isinstance(weight, bool) or weight < 0):
        raise RouteError(f"destination {index} of {ref} has weight {weight!r}: write a whole number from 0 on")
    host, subset = str(place.get("host", "")), place.get("subset")
    managed = subset in subsets and _canonical(host, ref.namespace) == _canonical(ref.host, ref.namespace)
    return _Destination(index, weight, str(subset) if managed else None, host)


def _canonical(host: str, namespace: str) -> tuple[str, str]:
    """Name and namespace of a Service in any of its forms: `svc`, `svc.ns`, `svc.ns.svc`, `svc.ns.svc.cluster.local`.

    Any other host stays as it is.
    """
    name, *rest = host.split(".")
    if not rest:
        return name, namespace
    if len(rest) == 1 or rest[1] == "svc":
        return name, rest[0]
    return host, ""


def _percents(shares: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole percentages that sum to 100: the largest remainders are rounded up."""
    found = {subset: 100 * share // total for subset, share in shares.items()}
    by_rest = sorted(shares, key=lambda subset: -(100 * shares[subset] % total))
    for subset in by_rest[: 100 - sum(found.values())]:
        found[subset] += 1
    return found


def _written(route: _Route, weights: Weights) -> dict[str | None, int]:
    """The weights to write, by subset."""
    there = {d.subset for d in route.managed}
    for subset, percent in weights:
        if percent and subset not in there:
            host = route.ref.host
            raise RouteError(f"{route.ref} has no destination for subset {subset} of {host}: add one with weight 0")
    if not route.others:
        return dict(weights)
    total = sum(d.share for d in route.managed)
    if not total:
        raise RouteError(f"{route.ref} sends nothing to subsets of {route.ref.host}: give one of them a weight")
    for subset, percent in weights:
        if percent * total % 100:
            step = 100 // math.gcd(100, total)
            raise RouteError(
                f"{route.ref} gives {total} of its weight to the fleet's subsets, and {percent} % of that for {subset} "
                f"is no whole weight: "
                + (f"write multiples of {step} %, or " if step < 100 else "")
                + "take the other destinations out of the route"
            )
    return {subset: percent * total // 100 for subset, percent in weights}


def _guards(document: Document, route: _Route) -> list[Operation]:
    version = document.get("metadata", {}).get("resourceVersion")
    tests = [("/metadata/resourceVersion", version), (f"/spec/http/{route.index}/name", route.ref.route)]
    for destination in route.managed:
        tests.append((_path(route, destination, "destination/host"), destination.host))
        tests.append((_path(route, destination, "destination/subset"), destination.subset))
    return [{"op": "test", "path": path, "value": value} for path, value in tests]


def _path(route: _Route, destination: _Destination, field: str) -> str:
    return f"/spec/http/{route.index}/route/{destination.index}/{field}"

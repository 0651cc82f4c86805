"""One control plane for the whole tier, a fresh namespace for each test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from controller.cluster.client import NotFoundError, Resource
from tests.cluster.plane.plane import ControlPlane

_HERE = Path(__file__).parent
_LIMIT_S = 300
_NAMESPACES = Resource("", "v1", "namespaces")
_PODS = Resource("", "v1", "pods")
AddNode = Callable[..., Mapping[str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark and bound the tests of this folder."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_LIMIT_S))


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane, with istiod and its definitions."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), istiod=True) as started:
        yield started


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own; what is in it goes with it."""
    plane.check()
    name = f"test-{secrets.token_hex(4)}"
    plane.add_namespace(name)
    yield name
    # Pods that a test plays the kubelet of would keep the namespace from ending.
    plane.client.delete(_PODS.path(name), {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
    plane.client.delete(_NAMESPACES.path(name=name))


@pytest.fixture
def gpu_node(plane: ControlPlane, namespace: str) -> Iterator[AddNode]:
    """Adds a node for the test, as `ControlPlane.add_node`, and returns the labels that its pods must select."""
    added: list[str] = []
    own = {"governor.dev/test": namespace}

    def add(suffix: str = "node", *, labels: Mapping[str, str] | None = None, **options: Any) -> Mapping[str, str]:
        name = f"{namespace}-{suffix}"
        added.append(name)
        plane.add_node(name, labels={**own, **(labels or {})}, **options)
        return own

    yield add
    for name in added:
        with suppress(NotFoundError):
            plane.remove_node(name)

"""Reading raw JSON of Kubernetes: what is not there, or is something else than it should be, is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from sys import intern

from controller.cluster.client import Json


def at(raw: object, *path: str) -> object:
    """What is found under a path of keys; None where it leads nowhere."""
    for key in path:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def text(raw: object, *path: str) -> str:
    """A text; empty where there is none."""
    found = at(raw, *path)
    return found if isinstance(found, str) else ""


def whole(raw: object, *path: str) -> int | None:
    """A whole number."""
    found = at(raw, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def objects(raw: object, *path: str) -> list[Json]:
    """The objects of a list."""
    found = at(raw, *path)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def texts(raw: object, *path: str) -> Mapping[str, str]:
    """A map of texts, such as labels. Thousands of objects share these few texts, so each is kept once."""
    found = at(raw, *path)
    if not isinstance(found, dict):
        return {}
    return {intern(str(name)): intern(value) for name, value in found.items() if isinstance(value, str)}


def instant(raw: object, *path: str) -> float | None:
    """A time in UTC seconds."""
    found = text(raw, *path)
    try:
        return datetime.fromisoformat(found).timestamp() if found else None
    except ValueError:
        return None


def key_of(raw: object) -> str:
    """namespace/name of an object; its name alone where its kind has no namespaces."""
    namespace, name = text(raw, "metadata", "namespace"), text(raw, "metadata", "name")
    return f"{namespace}/{name}" if namespace else name


def version_of(raw: object) -> str:
    """The resource version of an object or a collection."""
    return text(raw, "metadata", "resourceVersion")

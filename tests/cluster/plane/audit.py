"""The API server's audit log: who asked for what, and what was answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WRITES = ("create", "update", "patch", "delete", "deletecollection")
_SELF_TALK = ("system:apiserver", "kwok", "istiod")

POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": list(_SELF_TALK)},
        {
            "level": "None",
            "resources": [{"group": group, "resources": ["events"]} for group in ("", "events.k8s.io")],
            "userGroups": ["system:masters"],
        },
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "Metadata", "verbs": list(_WRITES)},
        {"level": "None"},
    ],
}
"""All writes but the plane's own book-keeping, and everything that service accounts ask."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One answered request. `stage` is ResponseStarted for a watch that goes on, else ResponseComplete."""

    user: str
    verb: str
    uri: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    stage: str
    at: str
    """When it was received, UTC, RFC 3339 with microseconds."""
    user_agent: str

    @property
    def is_write(self) -> bool:
        """Whether it asked to change something."""
        return self.verb in _WRITES


def read_audit_log(file: Path) -> list[AuditEvent]:
    """Every event so far, oldest first. A request is logged when it was answered, which may be a moment later."""
    try:
        lines = file.read_text().split("\n")
    except FileNotFoundError:
        return []
    # The last piece is empty, or a line that is being written.
    return [_event(json.loads(line)) for line in lines[:-1] if line]


def _event(told: Mapping[str, Any]) -> AuditEvent:
    about = told.get("objectRef") or {}
    return AuditEvent(
        user=told["user"].get("username", ""),
        verb=told["verb"],
        uri=told["requestURI"],
        group=about.get("apiGroup", ""),
        resource=about.get("resource", ""),
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=(told.get("responseStatus") or {}).get("code", 0),
        stage=told["stage"],
        at=told["requestReceivedTimestamp"],
        user_agent=told.get("userAgent", ""),
    )

"""One fleet's memory as a ConfigMap: its name, its labels, and the bytes in it."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any

from pydantic import ValidationError

from controller.cluster.client import Json
from controller.cluster.names import (
    COMPONENT_LABEL,
    FIELD_MANAGER,
    FLEET_ANNOTATION,
    MANAGED_BY_LABEL,
    MEMORY_COMPONENT,
    SCHEMA_ANNOTATION,
)
from controller.errors import TransientError
from controller.model.codec import from_plain
from controller.model.memory import MEMORY_VERSION, FleetMemory
from controller.record.encoded import digest_of

SELECTOR = f"{MANAGED_BY_LABEL}={FIELD_MANAGER},{COMPONENT_LABEL}={MEMORY_COMPONENT}"
MAX_BYTES = 900_000
"""Most that a memory may take in its ConfigMap, which holds 1 MiB with everything around it."""
_KIND = "governor-memory"
_KEY = "memory"


class UnreadableError(Exception):
    """It is not what was written, or written by a newer program."""


def name_of(fleet: str) -> str:
    """Name of the fleet's ConfigMap: namespaces and names together may be longer than a name may be."""
    return f"memory-{digest_of(fleet.encode())}"


def fleet_of(found: Json) -> str:
    """The fleet that a ConfigMap belongs to; empty where it does not say."""
    return str((found["metadata"].get("annotations") or {}).get(FLEET_ANNOTATION, ""))


def version_of(found: Json) -> str:
    """Resource version. Raises TransientError where there is none: nothing could be written against it."""
    version = str(found.get("metadata", {}).get("resourceVersion") or "")
    if not version:
        raise TransientError("the API server answered with a ConfigMap that has no resource version")
    return version


def packed(fleet: str, text: bytes) -> bytes:
    """A memory's JSON, compressed, with version and checksum. Raises TransientError if it is too big."""
    head = json.dumps({"kind": _KIND, "version": MEMORY_VERSION, "crc32": zlib.crc32(text)}).encode()
    content = base64.b64encode(zlib.compress(head + b"\n" + text, 6))
    if len(content) > MAX_BYTES:
        raise TransientError(f"the memory of {fleet} takes {len(content)} bytes, more than the {MAX_BYTES} there are")
    return content


def object_of(fleet: str, content: bytes, namespace: str, version: str) -> Json:
    """The ConfigMap, or the part of it that is ours; onto `version` where there is one."""
    metadata: dict[str, Any] = {
        "name": name_of(fleet),
        "namespace": namespace,
        "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, COMPONENT_LABEL: MEMORY_COMPONENT},
        "annotations": {FLEET_ANNOTATION: fleet, SCHEMA_ANNOTATION: str(MEMORY_VERSION)},
    }
    if version:
        metadata["resourceVersion"] = version
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "binaryData": {_KEY: content.decode()},
    }


def aside_of(found: Json) -> Json:
    """A copy of a ConfigMap that could not be read, which `SELECTOR` does not find. The same one, the same name."""
    metadata, content = found["metadata"], found.get("binaryData") or {}
    digest = digest_of(json.dumps(content, sort_keys=True).encode())[:8]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{metadata['name']}-unreadable-{digest}",
            "namespace": metadata.get("namespace", ""),
            "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, COMPONENT_LABEL: f"{MEMORY_COMPONENT}-unreadable"},
            "annotations": dict(metadata.get("annotations") or {}),
        },
        "binaryData": content,
    }


def memory_of(found: Json, fleet: str) -> FleetMemory:
    """The memory in a ConfigMap. Raises UnreadableError saying what is wrong with it and what follows."""
    where = f"the memory of {fleet} in ConfigMap {found['metadata']['name']}"
    head, text = _unpacked(found, where)
    version = head.get("version")
    if isinstance(version, int) and version > MEMORY_VERSION:
        raise UnreadableError(
            f"{where} is of version {version}, this program knows up to {MEMORY_VERSION}: it begins anew, and a copy "
            "is kept for the newer program"
        )
    if head.get("kind") != _KIND or head.get("crc32") != zlib.crc32(text):
        raise UnreadableError(f"{where} was damaged or edited: its checksum does not match")
    try:
        memory = from_plain(FleetMemory, json.loads(text))
    except (ValidationError, ValueError) as error:
        raise UnreadableError(f"{where} holds a value that does not fit: {str(error).splitlines()[0]}") from error
    if memory.fleet != fleet:
        raise UnreadableError(f"{where} is that of {memory.fleet}")
    return memory


def _unpacked(found: Json, where: str) -> tuple[dict[str, Any], bytes]:
    try:
        content = zlib.decompress(base64.b64decode((found.get("binaryData") or {})[_KEY], validate=True))
        head, _, text = content.partition(b"\n")
        plain = json.loads(head)
    except (KeyError, binascii.Error, zlib.error, ValueError) as error:
        raise UnreadableError(f"{where} is damaged: {error}") from error
    return (plain if isinstance(plain, dict) else {}), text

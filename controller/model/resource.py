"""A Fleet as the API server hands it out: the model's fields, and those that only the cluster writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controller.model.field_tree import fields_of
from controller.model.fleet import Fleet, Metadata

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole document: nobody's own use, and every decision in the journal would repeat it."""


def fleet_of_resource(document: Mapping[str, Any]) -> Fleet:
    """The fleet in a resource of the API server: its status and the cluster's own metadata are left aside.

    All else is judged as strictly as in a fleet file. Raises pydantic's ValidationError; `problems_of` in
    `controller.model.describe` says it in the words of the file loader.
    """
    kept = {name: document[name] for name in fields_of(Fleet) if name in document}
    metadata = kept.get("metadata")
    if isinstance(metadata, Mapping):
        kept["metadata"] = _metadata(metadata)
    return Fleet.model_validate_json(json.dumps(kept), strict=True, by_alias=True, by_name=False)


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: metadata[name] for name in fields_of(Metadata) if name in metadata}
    annotations = kept.get("annotations")
    if isinstance(annotations, Mapping):
        kept["annotations"] = {key: text for key, text in annotations.items() if key != _LAST_APPLIED}
    return kept

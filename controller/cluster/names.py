"""Names that the cluster knows us by, and the kinds of object that we read or write."""

from __future__ import annotations

from controller.cluster.client import Resource

FIELD_MANAGER = "vllm-governor"
"""Who we are in `metadata.managedFields`."""
COMPONENT = "vllm-governor"
"""Who we are in Events (`reportingController`) and leases."""

GROUP = "governor.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FLEET_KIND = "Fleet"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
COMPONENT_LABEL = "app.kubernetes.io/component"
NAME_LABEL = "app.kubernetes.io/name"
MEMORY_COMPONENT = "memory"
"""Value of the component label on objects that hold a fleet's memory."""

FLEET_ANNOTATION = f"{GROUP}/fleet"
"""namespace/name of the fleet that an object of ours belongs to."""
SCHEMA_ANNOTATION = f"{GROUP}/schema"
"""Version of what an object of ours holds."""
DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
"""Pods with the lowest cost leave first (ReplicaSet controller)."""
VICTIM_ANNOTATION = f"{GROUP}/victim"
"""Marks a pod whose deletion cost was set by us: only those are ever cleared."""

FLEETS = Resource(GROUP, VERSION, "fleets")
PODS = Resource("", "v1", "pods")
NODES = Resource("", "v1", "nodes")
SERVICES = Resource("", "v1", "services")
CONFIG_MAPS = Resource("", "v1", "configmaps")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets")
LEADER_WORKER_SETS = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
EVENTS = Resource("events.k8s.io", "v1", "events")
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices")
DESTINATION_RULES = Resource("networking.istio.io", "v1", "destinationrules")

WELL_KNOWN: dict[tuple[str, str], str] = {
    ("apps", "Deployment"): DEPLOYMENTS.plural,
    ("apps", "ReplicaSet"): REPLICA_SETS.plural,
    ("apps", "StatefulSet"): STATEFUL_SETS.plural,
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): LEADER_WORKER_SETS.plural,
}
"""Plural by (group, kind) of scale targets that need no discovery."""
HONOURS_DELETION_COST: frozenset[tuple[str, str]] = frozenset({("apps", "Deployment"), ("apps", "ReplicaSet")})
"""Scale targets (group, kind) whose pods leave in the order of their deletion cost."""

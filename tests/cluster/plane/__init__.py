"""A real control plane on this machine: etcd, API server, controllers, scheduler, KWOK's nodes, and istiod with Envoy.

Get the parts once (20 minutes cold, then at once): `python -m tests.cluster.plane.binaries`. To play: `make cluster`.
In a test of the tier `make test-cluster` the fixtures of `tests/cluster/conftest.py` are what is needed:

    def test_something(plane: ControlPlane, namespace: str) -> None:
        plane.apply(Path("deploy/base"))                    # a file, a kustomization, a document, or several
        plane.client.get(f"/api/v1/namespaces/{namespace}/pods")       # raw JSON, as the admin
        plane.kubectl("get", "fleets", "-A")                # its standard output
        plane.client_for("governor", "governor")            # as a service account, through a token of its own
        plane.stop_api_server(); plane.start_api_server()   # an outage; everything stays in etcd
        plane.audit()                                       # every write, and all that service accounts asked

`gpu_node()` (fixture) adds a node only for the test: let its pods select the labels that it returns. To hold a plane
of one's own (`from tests.cluster.plane.plane import ControlPlane`):

    with ControlPlane(run_dir, istiod=True) as plane:
        plane.add_node("gpu-0", gpus=4, accelerator="l40s")

Pods have no processes behind them. KWOK plays their kubelet, told by annotations of the pod (`stages.py`):
- `governor.dev/test-cold-start: 30s`: running at once, ready that long after it;
- `governor.dev/test-drain: 10s`: when deleted, gone that long after it;
- `governor.dev/test-kubelet: "true"`: left alone; the test writes `status` and deletes, as a kubelet would.

Traffic is real where it goes through `mesh.MeshGateway`: a plain Envoy configured by istiod, in front of servers on
loopback. `waiting.wait_until` is the bounded wait for a condition. A plane ends with the process that holds it,
however that ends; logs, the audit log and kubeconfigs stay in `plane.run_dir`.
"""

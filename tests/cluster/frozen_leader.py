"""A leader that is frozen between the gate and the send: `python -m tests.cluster.frozen_leader KUBECONFIG NAMESPACE`.

It leads, reads the Deployment `vllm`, plans 5 replicas of it, passes the gate, stops itself with SIGSTOP, and sends
when somebody continues it. It prints "frozen" before, and afterwards one line of JSON: whether it still leads, and
what became of the order.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import structlog

from controller.act.cluster_scale import ClusterReplicaWriter
from controller.act.gate import Gate, leading
from controller.cluster.client import ClusterClient
from controller.cluster.election import Timing
from controller.cluster.lease import Lease
from controller.cluster.names import DEPLOYMENTS
from controller.model.decision import Outcome, ScaleWrite
from controller.model.variant import ScaleTargetRef
from tests.cluster.plane.waiting import wait_until

TIMING = Timing(duration_s=4, renew_s=1.0, margin_s=1.0, poll_s=0.2)


class Freezing:
    """A writer that sends when its process is thawed."""

    def __init__(self, writer: ClusterReplicaWriter) -> None:
        self._writer = writer

    def scale(self, write: ScaleWrite) -> Outcome:
        print("frozen", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        return self._writer.scale(write)


def main(kubeconfig: str, namespace: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    client = ClusterClient.of_environment(Path(kubeconfig))
    lease = Lease(client, namespace, "governor", "deposed", TIMING)
    lease.start()
    wait_until("leadership", lease.held)
    found = client.get(DEPLOYMENTS.path(namespace, "vllm"))
    order = ScaleWrite("llm/llama", "v1", found["spec"]["replicas"], 5, found["metadata"]["resourceVersion"])
    writer = ClusterReplicaWriter(client, lambda *_key: (namespace, ScaleTargetRef(name="vllm")), lambda *_kind: "")
    gate = Gate(Freezing(writer), [leading(lease.held)])
    outcome = gate.scale(order)
    print(json.dumps({"held": lease.held(), "status": outcome.status.value, "detail": outcome.detail}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])

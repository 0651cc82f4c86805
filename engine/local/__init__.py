"""The whole system on one machine: replicas, Envoy, Prometheus, load, under one supervisor."""

"""Kubernetes' API as the adapters use it: raw JSON, typed errors, time-outs; lists that are kept by watching."""

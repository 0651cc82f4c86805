"""Adapters that read the world: fleets, signals, replicas."""

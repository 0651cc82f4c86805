"""Grafana dashboards as Python. The generator is not written yet: the package holds its place."""

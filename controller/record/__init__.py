"""Adapters that remember and show: memory, journal, metrics, API, page."""

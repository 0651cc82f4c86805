"""Benchmarks: commands that print figures against their budgets, not timed tests."""

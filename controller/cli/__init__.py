"""The `governor` command: parses, wires the adapters, runs."""

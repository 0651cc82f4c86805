"""The daemon: observe, estimate, decide, guard, act, record; and the `governor` command."""

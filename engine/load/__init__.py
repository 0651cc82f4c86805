"""Traffic: traces, scenarios, an open-loop load generator, what its clients saw."""

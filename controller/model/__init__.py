"""Values: what is wanted (Fleet), seen (Snapshot), remembered (Memory) and decided (Decision)."""

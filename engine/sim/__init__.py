"""A simulated vLLM replica: pure, seeded, on a virtual clock."""

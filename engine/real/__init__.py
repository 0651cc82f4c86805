"""Real vLLM on the CPU with a tiny model made on the spot."""

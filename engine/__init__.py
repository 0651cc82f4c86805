"""Everything that knows vLLM: metric catalogue, profiles, step law, simulator, load, local stack."""

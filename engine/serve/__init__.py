"""The simulated replica behind vLLM's HTTP face, in real time."""

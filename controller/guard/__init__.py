"""Guards: they only restrain. Pure."""

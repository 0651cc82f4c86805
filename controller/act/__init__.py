"""Adapters that change the world, behind one gate."""

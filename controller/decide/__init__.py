"""Proposals: how many replicas of what. Pure."""

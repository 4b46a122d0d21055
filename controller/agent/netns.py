"""Entering another network namespace, for the whole process: what is started afterwards is there too."""

import ctypes
import os
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_NAMED = Path("/run/netns")


class NamespaceError(Exception):
    """The network namespace does not exist or may not be entered; the message says which."""


def enter_network_namespace(name: str) -> None:
    """Move this process to a namespace that `ip netns add` made. Raises NamespaceError."""
    if "/" in name or name in {"", ".", ".."}:
        raise NamespaceError(f"{name!r} is no name of a network namespace (see `ip netns`)")
    try:
        handle = os.open(_NAMED / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(f"network namespace {name!r}: {error.strerror} (see `ip netns`)") from error
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.setns(handle, _CLONE_NEWNET):
            reason = os.strerror(ctypes.get_errno())
            raise NamespaceError(f"network namespace {name!r} cannot be entered: {reason}; this needs root")
    finally:
        os.close(handle)

"""Short, stable identities: hashes of what a thing is.

Inputs are length-delimited, so that `prod` + `1allow` and `prod1` + `allow` never meet: a collision between
two namespaces' names let one policy overwrite another's in other implementations.
"""

import hashlib
from base64 import b32encode
from collections.abc import Iterable

_LENGTH = 16


def digest(content: Iterable[str]) -> str:
    """16 base32 characters (80 bits) of SHA-256 over length-delimited texts, in lower case."""
    state = hashlib.sha256()
    for text in content:
        data = text.encode()
        state.update(b"%d:" % len(data))
        state.update(data)
    return b32encode(state.digest())[:_LENGTH].decode().lower()

"""What rules have counted, from the listing of a chain. Pure."""

import re

_COUNTED = re.compile(r"^-A \S+ .*-c (\d+) \d+ -j (?:DROP|RETURN)$", re.ASCII)


def last_count(listing: str) -> int:
    """The packets that met the last rule of a chain, in which they end; 0 where it is none of ours.

    The listing is that of `iptables -v -S CHAIN`. A rule is never rewritten because of others, so its counter
    lives as long as the chain.
    """
    lines = listing.splitlines()
    found = _COUNTED.match(lines[-1]) if lines else None
    return int(found[1]) if found else 0


class Growing:
    """A total that goes on where the counters it is fed from start again at 0."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], int] = {}

    def grown(self, family: int, chain: str, count: int) -> int:
        """By how much a counter has grown since the last time; the first time says where it starts."""
        before = self._seen.get((family, chain))
        self._seen[family, chain] = count
        if before is None:
            return 0
        return count - before if count >= before else count

"""How long to wait after a failure, so that a server that struggles is not met by all its clients at once."""

from random import Random

_RANDOM = Random()  # noqa: S311 - spreads load, hides nothing


class Backoff:
    """Exponential with full jitter: each wait is anything up to a ceiling that doubles, `first` to `cap`.

    Drawn from the whole range, because clients that failed together would otherwise come back together.
    """

    def __init__(self, first: float = 0.2, cap: float = 20.0, random: Random = _RANDOM) -> None:
        self._first = first
        self._cap = cap
        self._random = random
        self.failures = 0

    def next(self) -> float:
        """Seconds to wait now; counts one more failure."""
        ceiling = min(self._cap, self._first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self._random.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Things went well."""
        self.failures = 0

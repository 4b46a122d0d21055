"""The namespaces of one test lab, surely removed.

Names carry the process id of their maker. Whatever kills that process, the next one finds what it left.
"""

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from controller.lab.namespaces import Namespace, add_namespaces, delete_namespaces, named

PREFIX = "pglab"


class Namespaces:
    """The namespaces of one lab; entering makes them, leaving removes them with all that is in them."""

    def __init__(self, places: Iterable[str]) -> None:
        self.prefix = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(2)}"
        self._places = tuple(places)
        self._made: dict[str, Namespace] = {}

    def __enter__(self) -> Self:
        sweep()
        try:
            add_namespaces(self._name(place) for place in self._places)
            for place in self._places:
                self._made[place] = Namespace(self._name(place))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def __getitem__(self, place: str) -> Namespace:
        return self._made[place]

    def __iter__(self) -> Iterator[Namespace]:
        return iter(self._made.values())

    def _name(self, place: str) -> str:
        return f"{self.prefix}-{place.replace('/', '.')}"

    def _remove(self) -> None:
        for namespace in self._made.values():
            namespace.close()
        self._made.clear()
        delete_namespaces(named(f"{self.prefix}-"))


def sweep() -> list[str]:
    """Remove the namespaces of labs whose process is dead, and return their names."""
    dead = [name for name in named(f"{PREFIX}-") if not Path("/proc", name.split("-")[1]).exists()]
    delete_namespaces(dead)
    return dead

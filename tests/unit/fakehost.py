"""A machine in memory, at the edge of the process: iptables-nft, ipset and conntrack as podgate calls them.

It keeps chains and sets as lines of text, takes a transaction whole or not at all, and says the tools' own
words when it refuses. A test can make calls fail, once or always.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

from controller.dataplane.setlink import SetLink
from controller.dataplane.tools import Result

DONE = Result(0, "", "")
BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_FAMILIES = {"iptables": 4, "ip6tables": 6}

Call = tuple[tuple[str, ...], str]
"""A command, and what it read."""


class RefusedError(Exception):
    """A tool ends with this exit code and these words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class FakeHost:
    """Implements `Runner`. `trouble` sees each call first, and answers it, raises, or returns None."""

    def __init__(self) -> None:
        self.chains: dict[int, dict[str, list[str]]] = {family: {} for family in (4, 6)}
        self.sets: dict[str, tuple[str, set[str]]] = {}
        self.calls: list[Call] = []
        self.trouble: Callable[[Sequence[str], str], Result | None] = lambda _command, _text: None

    def run(self, command: Sequence[str], text: str = "") -> Result:
        self.calls.append((tuple(command), text))
        answer = self.trouble(command, text)
        if answer is not None:
            return answer
        try:
            return Result(0, "".join(f"{line}\n" for line in self._answer(command, text)), "")
        except RefusedError as error:
            return Result(error.code, "", f"{error}\n")

    def called(self, *words: str) -> list[Call]:
        """The calls whose command holds all of these words."""
        return [call for call in self.calls if all(word in " ".join(call[0]) for word in words)]

    def _answer(self, command: Sequence[str], text: str) -> list[str]:  # noqa: PLR0911  one for each call
        match list(command):
            case ["conntrack", *_]:
                return []
            case ["ipset", "list", "-n"]:
                return sorted(self.sets)
            case ["ipset", "destroy", name]:
                return self._destroy(name)
            case ["ipset", "restore"]:
                return [line for each in text.splitlines() for line in self._ipset(each.split())]
            case [tool, *_] if tool.endswith("-save"):
                return list(self._save(_FAMILIES[tool.partition("-")[0]]))
            case [tool, *_] if tool.endswith("-restore"):
                return self._restore(_FAMILIES[tool.partition("-")[0]], text)
            case [tool, *_, "-S", chain]:
                return self._list(_FAMILIES[tool.partition("-")[0]], chain)
        raise AssertionError(f"nobody is known to call {command}")

    # iptables

    def _save(self, family: int) -> Iterator[str]:
        if not self.chains[family]:
            return
        yield "*mangle"
        yield from (f":{name} ACCEPT [0:0]" for name in BUILT_IN)
        yield from (f":{name} - [0:0]" for name in self.chains[family] if name not in BUILT_IN)
        for name, rules in self.chains[family].items():
            yield from (f"-A {name} {rule}" for rule in rules)
        yield "COMMIT"

    def _list(self, family: int, chain: str) -> list[str]:
        if chain not in self.chains[family]:
            raise RefusedError(1, f"chain `{chain}' in table `mangle' is incompatible, use 'nft' tool.")
        return [f"-A {chain} {rule}" for rule in self.chains[family][chain]]

    def _restore(self, family: int, text: str) -> list[str]:
        first, *lines, last = text.splitlines()
        if (first, last) != ("*mangle", "COMMIT"):
            raise RefusedError(1, "COMMIT expected")
        chains = deepcopy(self.chains[family]) or {name: [] for name in BUILT_IN}
        for number, line in enumerate(lines, 2):
            self._edit(chains, line, number)
        for name, rule in ((name, rule) for name, rules in chains.items() for rule in rules):
            words = rule.split()
            if words[-1].startswith("PODGATE") and words[-1] not in chains:
                raise RefusedError(2, f"Chain '{words[-1]}' does not exist")
            if "--match-set" in words and words[words.index("--match-set") + 1] not in self.sets:
                raise RefusedError(2, f"Set {words[words.index('--match-set') + 1]} doesn't exist ({name}).")
        self.chains[family] = chains
        return []

    def _edit(self, chains: dict[str, list[str]], line: str, number: int) -> None:
        verb, name, *rest = line.split(" ", 2)
        spec = rest[0] if rest else ""
        if line.startswith(":"):
            chains[line[1:].split(maxsplit=1)[0]] = []
        elif verb == "-A":
            chains[name].append(spec)
        elif verb == "-I":
            place, _, rule = spec.partition(" ")
            chains[name].insert(int(place) - 1, rule)
        elif verb == "-D" and spec in chains.get(name, ()):
            chains[name].remove(spec)
        elif verb == "-X" and name in chains and not any(_leads_to(name, rules) for rules in chains.values()):
            del chains[name]
        else:
            raise RefusedError(1, f"line {number} failed")

    # ipset

    def _ipset(self, words: list[str]) -> list[str]:
        match words:
            case [] | ["#", *_] | ["#" | "COMMIT"]:
                return []
            case ["create", name, *kind, "-exist"]:
                made = " ".join(kind).partition(" hashsize")[0]
                if self.sets.setdefault(name, (made, set()))[0] != made:
                    raise RefusedError(1, "Set cannot be created: set with the same name already exists")
            case ["flush", name]:
                self.sets[name][1].clear()
            case ["add", name, entry, "-exist"]:
                self.sets[name][1].add(entry)
            case ["del", name, entry, "-exist"]:
                self.sets[name][1].discard(entry)
            case ["save", name]:
                made, entries = self.sets[name]
                created = f"create {name} {made} hashsize 64 maxelem 1048576"
                return [created, *(f"add {name} {each}" for each in entries)]
            case _:
                raise AssertionError(f"nobody is known to say {words}")
        return []

    def _destroy(self, name: str) -> list[str]:
        if name not in self.sets:
            raise RefusedError(1, "The set with the given name does not exist")
        used = (
            f" {name} " in f"{rule} "
            for chains in self.chains.values()
            for rules in chains.values()
            for rule in rules
        )
        if any(used):
            raise RefusedError(1, "Set cannot be destroyed: it is in use by a kernel component")
        del self.sets[name]
        return []


def no_link() -> SetLink:
    """A channel that cannot be opened: `ipset restore` does its work, and no real set is touched."""
    raise PermissionError("no netlink here")


def _leads_to(name: str, rules: list[str]) -> bool:
    return any(rule.split()[-1] == name for rule in rules)

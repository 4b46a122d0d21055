"""Somebody else who writes iptables rules all the time: a program for the tests of coexistence.

Arguments: `kube-proxy` or `firewall`, then the backend. Writes until its standard input ends, then prints as
JSON what it did and which rules must be there now: {"rounds", "failures", "rules": {table: [lines of
iptables-save]}}. It keeps to the rules of the house: it waits for the lock, and flushes only what is its own.
"""

import itertools
import json
import random
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

WAIT = ("--wait", "10")


class Round(NamedTuple):
    """A command and what it reads."""

    command: tuple[str, ...]
    text: str = ""


class KubeProxy:
    """Writes all of its chains anew in each round, in three tables, as kube-proxy does on each change."""

    pause = 0.05

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self.rules: dict[str, list[str]] = {}

    def rounds(self) -> Iterator[Round]:
        for number in itertools.count():
            self.rules = {table: list(self._rules(table, number)) for table in ("nat", "filter", "mangle")}
            text = "".join(
                f"*{table}\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK - [0:0]\n{_lines(rules)}COMMIT\n"
                for table, rules in self.rules.items()
            )
            yield Round((f"iptables-{self._backend}-restore", "--noflush", *WAIT), text)

    def _rules(self, table: str, number: int) -> Iterator[str]:
        mark = f"-A KUBE-MARK -m comment --comment round-{number} -j RETURN"
        yield mark
        for service in range(20 if table == "nat" else 5):
            yield (
                f"-A KUBE-SERVICES -d 10.96.{number % 256}.{service}/32 -p tcp -m tcp "
                f"--dport {1 + number % 60000} -j KUBE-MARK"
            )


class Firewall:
    """Puts a rule on top of a chain of everybody's, or takes one away again, as Docker does."""

    pause = 0.02

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._random = random.Random(1)  # noqa: S311  any choice will do
        self.rules: dict[str, list[str]] = {"mangle": [], "filter": []}

    def rounds(self) -> Iterator[Round]:
        for number in itertools.count():
            table = self._random.choice(sorted(self.rules))
            own = self.rules[table]
            if len(own) > 10 or (own and self._random.random() < 0.4):
                place = self._random.randrange(len(own))
                rule = own.pop(place)
                yield Round((f"iptables-{self._backend}", *WAIT, "-t", table, "-D", *rule.split()[1:]))
            else:
                rule = f"-A FORWARD -s 198.51.{number // 256}.{number % 256}/32 -j ACCEPT"
                own.insert(0, rule)
                yield Round((f"iptables-{self._backend}", *WAIT, "-t", table, "-I", *rule.split()[1:]))


def main() -> None:
    parties: dict[str, Callable[[str], KubeProxy | Firewall]] = {
        "kube-proxy": KubeProxy,
        "firewall": Firewall,
    }
    party = parties[sys.argv[1]](sys.argv[2])
    failures: list[str] = []
    done = 0
    for each in party.rounds():
        result = subprocess.run(each.command, input=each.text, text=True, capture_output=True, check=False)
        done += 1
        if result.returncode:
            failures.append(f"{' '.join(each.command)}: {result.returncode} {result.stderr.strip()}")
        if select.select([sys.stdin], [], [], party.pause)[0]:
            break
    json.dump({"rounds": done, "failures": failures, "rules": party.rules}, sys.stdout)


def _lines(rules: list[str]) -> str:
    return "".join(f"{rule}\n" for rule in rules)


if __name__ == "__main__":
    main()

"""Denied packets as the agents log them: a line of a log to a value, which of them are wanted, how they look.

The lines are made by `agent.drop_log`; anything else in a log is passed over.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from controller.cli.output.escapes import plain

_MESSAGES = {"packet dropped": "dropped", "packet would be dropped": "audited"}
_HEADS = ("TIME", "NODE", "POD", "DIRECTION", "PEER", "PORT", "COUNT", "REASON", "POLICIES")


class Drop(Struct, frozen=True, omit_defaults=False):
    """One line: packets of one connection that were denied, or would have been in audit mode."""

    ts: str
    msg: str
    namespace: str = ""
    pod: str = ""
    direction: str = ""
    peer: str = ""
    peer_pod: str = ""
    protocol: str = ""
    port: int | None = None
    policies: tuple[str, ...] = ()
    reason: str = ""
    count: int = 1
    node: str = ""


class Wanted(Struct, frozen=True):
    """Which lines to show; "" is any. A pod is looked for on both ends."""

    namespace: str = ""
    pod: str = ""

    def has(self, drop: Drop) -> bool:
        """Whether a line is one of them."""
        ends = ((drop.namespace, drop.pod), _split(drop.peer_pod))
        return any(
            (not self.namespace or namespace == self.namespace) and (not self.pod or pod == self.pod)
            for namespace, pod in ends
        )


_DECODER = msgspec.json.Decoder(Drop)


def parse_line(line: bytes) -> Drop | None:
    """The denied packets that a line of a log tells of; None for any other line."""
    if b"packet " not in line:
        return None
    start = line.find(b"{")  # journalctl and kubectl logs --prefix put something before it
    try:
        found = _DECODER.decode(line[start:]) if start >= 0 else _from_text(line)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    return found if found is not None and found.msg in _MESSAGES else None


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TEXT = re.compile(r"(\S+Z) \[\w+ *\] (packet dropped|packet would be dropped) ")
_PAIR = re.compile(r"(\w+)=(\[[^]]*\]|'[^']*'|\S*)", re.ASCII)
_QUOTED = re.compile(r"'([^']*)'")


def _from_text(line: bytes) -> Drop | None:
    """A line of `--log-format text`, as agents in a terminal and in labs write it."""
    text = _COLOURS.sub("", line.decode("utf-8", "replace"))
    head = _TEXT.search(text)
    if head is None:
        return None
    pairs: dict[str, object] = dict(_PAIR.findall(text[head.end() :]))
    pairs["policies"] = _QUOTED.findall(str(pairs.get("policies", "")))
    if pairs.get("port") == "None":
        del pairs["port"]
    return msgspec.convert({**pairs, "ts": head[1], "msg": head[2]}, Drop, strict=False)


def json_line(drop: Drop) -> str:
    """The contract of `podgate drops -o json`: one object a line."""
    return msgspec.json.encode(drop).decode()


class Table:
    """Rows as they come: columns grow with what is in them, and the head stands first."""

    def __init__(self) -> None:
        self._widths = [len(head) for head in _HEADS]
        self._has_head = False

    def rows(self, drops: list[Drop]) -> list[str]:
        """The lines for some more."""
        rows = [_row(drop) for drop in drops]
        self._widths = [
            max(width, *(len(row[at]) for row in rows), 0) for at, width in enumerate(self._widths)
        ]
        shown = [*([] if self._has_head else [_HEADS]), *rows] if rows else []
        self._has_head = self._has_head or bool(rows)
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)).rstrip()
            for row in shown
        ]


def with_peer(drop: Drop, pods: Mapping[str, str]) -> Drop:
    """The line with the name of the pod whose address the peer is, where the agent knew none."""
    if drop.peer_pod or drop.peer not in pods:
        return drop
    return msgspec.structs.replace(drop, peer_pod=pods[drop.peer])


def _row(drop: Drop) -> tuple[str, ...]:
    port = "-" if drop.port is None else str(drop.port)
    cells = (
        drop.ts.partition(".")[0].removesuffix("Z") + "Z",
        drop.node or "-",
        f"{drop.namespace}/{drop.pod}" if drop.pod else "-",
        drop.direction,
        f"{drop.peer_pod} ({drop.peer})" if drop.peer_pod else drop.peer,
        f"{port}/{drop.protocol}",
        str(drop.count),
        f"{drop.reason} (audit)" if _MESSAGES[drop.msg] == "audited" else drop.reason,
        ", ".join(drop.policies) or "-",
    )
    return tuple(map(plain, cells))


def _split(name: str) -> tuple[str, str]:
    namespace, _, pod = name.partition("/")
    return namespace, pod

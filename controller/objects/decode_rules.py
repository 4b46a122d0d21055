"""Rules, peers and ports of a policy from plain values, fail closed.

A peer or port that the API server would refuse is left out and reported. A list that was written and of which
nothing is left stays an empty tuple, which matches nothing; only a list that is missing, null or [] becomes
None, which matches everything (rule 2.11). Mixing the two up would turn a typing error into an open door.
"""

from typing import Any

from controller.objects.addresses import AddressError, Cidr, parse_cidr
from controller.objects.decode_selector import decode_selector
from controller.objects.kinds import Direction, IPBlock, Peer, PolicyPort, PolicyRule, Protocol
from controller.objects.labels import LabelSelector
from controller.objects.names import port_name_problem, shown, type_name, typed
from controller.objects.report import Report
from controller.objects.unknown_fields import report_widening

PEERS_FIELD = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
"""What a rule calls its peers."""

_RULE_FIELDS = {
    Direction.INGRESS: frozenset({"from", "ports"}),
    Direction.EGRESS: frozenset({"to", "ports"}),
}
_RULE_HINTS = {
    Direction.INGRESS: "a rule of ingress has from and ports",
    Direction.EGRESS: "a rule of egress has to and ports",
}
_PEER_FIELDS = frozenset({"podSelector", "namespaceSelector", "ipBlock"})
_BLOCK_FIELDS = frozenset({"cidr", "except"})
_PORT_FIELDS = frozenset({"protocol", "port", "endPort"})
_PROTOCOLS = {protocol.name: protocol for protocol in Protocol}
_LAST_PORT = 65535


def decode_rules(value: object, direction: Direction, report: Report) -> tuple[PolicyRule, ...]:
    """`spec.ingress` or `spec.egress`; missing, null and [] are no rules (rule 2.10). Never raises."""
    path = f"spec.{direction.lower()}"
    if value is None:
        return ()
    if not isinstance(value, list):
        message = f"is {type_name(value)}, not a list; no rule of it is applied"
        report.error("wrong-type", path, message, "write each rule as an item: - from: [...]")
        return ()
    rules = (_rule(index, item, direction, f"{path}[{index}]", report) for index, item in enumerate(value))
    return tuple(rule for rule in rules if rule is not None)


def _rule(index: int, item: object, direction: Direction, path: str, report: Report) -> PolicyRule | None:
    if not isinstance(item, dict):
        message = f"is {type_name(item)}, not a mapping; the rule matches nothing"
        remedy = "a rule that allows everything is written - {}"
        report.error("invalid-rule" if item is None else "wrong-type", path, message, remedy)
        return None
    has_unknown = report_widening(item, _RULE_FIELDS[direction], path, report, _RULE_HINTS[direction])
    peers = PEERS_FIELD[direction]
    rule = PolicyRule(
        index,
        peers=_peers(item.get(peers), f"{path}.{peers}", report),
        ports=_ports(item.get("ports"), f"{path}.ports", report),
    )
    return None if has_unknown else rule


def _peers(value: object, path: str, report: Report) -> tuple[Peer, ...] | None:
    if value is None or value == []:
        return None
    if not isinstance(value, list):
        message = f"is {type_name(value)}, not a list; the rule matches nobody"
        report.error("wrong-type", path, message, "write each peer as an item: - podSelector: {...}")
        return ()
    peers = (_peer(index, item, f"{path}[{index}]", report) for index, item in enumerate(value))
    return tuple(peer for peer in peers if peer is not None)


def _peer(index: int, item: object, path: str, report: Report) -> Peer | None:
    """One peer, or None when it has to match nothing (rules 2.12 to 2.15 and 2.70 f)."""
    if not isinstance(item, dict):
        message = f"is {type_name(item)}, not a mapping; the peer matches nobody"
        remedy = "write - podSelector: {...}, - namespaceSelector: {...} or - ipBlock: {...}"
        report.error("invalid-peer" if item is None else "wrong-type", path, message, remedy)
        return None
    has_unknown = report_widening(item, _PEER_FIELDS, path, report)
    # A selector or block that is null is absent, which differs from {} (rule 2.14).
    written = {
        name: item[name]
        for name in ("podSelector", "namespaceSelector", "ipBlock")
        if item.get(name) is not None
    }
    if not written and not has_unknown:
        message = "has no podSelector, no namespaceSelector and no ipBlock; the peer matches nobody"
        report.error("invalid-peer", path, message, "leave the whole list out to allow everybody")
        return None
    if "ipBlock" in written:
        peer = _block_peer(index, written, path, report)
        return None if has_unknown else peer
    selectors: dict[str, LabelSelector] = {}
    for name, value in written.items():
        selector, understood = decode_selector(value, f"{path}.{name}", report)
        if understood:
            selectors[name] = selector
    if has_unknown or len(selectors) < len(written):
        return None
    return Peer(index, selectors.get("podSelector"), selectors.get("namespaceSelector"))


def _block_peer(index: int, written: dict[str, Any], path: str, report: Report) -> Peer | None:
    block = _block(written["ipBlock"], f"{path}.ipBlock", report)
    if len(written) > 1:
        message = "ipBlock stands together with a selector; the peer matches nobody"
        report.error("invalid-peer", path, message, "make them two items of the list")
        return None
    return Peer(index, ip_block=block) if block is not None else None


def _block(value: object, path: str, report: Report) -> IPBlock | None:
    if not isinstance(value, dict):
        message = f"is {type_name(value)}, not a mapping; the peer matches nobody"
        report.error("wrong-type", path, message, "write ipBlock: {cidr: 192.0.2.0/24}")
        return None
    has_unknown = report_widening(value, _BLOCK_FIELDS, path, report)
    cidr = _cidr(value.get("cidr"), f"{path}.cidr", "invalid-cidr", report)
    excepts = _excepts(value.get("except"), cidr, f"{path}.except", report)
    if has_unknown or cidr is None or excepts is None:
        return None
    return IPBlock(cidr, excepts)


def _excepts(value: object, cidr: Cidr | None, path: str, report: Report) -> tuple[Cidr, ...] | None:
    """The exceptions, sorted; None when one of them is wrong, for without it the block would allow more."""
    if value is None:
        return ()
    if not isinstance(value, list):
        message = f"is {type_name(value)}, not a list; the peer matches nobody"
        report.error("wrong-type", path, message, "write except: [192.0.2.0/28]")
        return None
    found: set[Cidr] = set()
    complete = True
    for index, item in enumerate(value):
        place = f"{path}[{index}]"
        inner = _cidr(item, place, "invalid-except", report)
        if (
            inner is not None
            and cidr is not None
            and not (cidr.contains(inner) and cidr.prefix < inner.prefix)
        ):
            message = f"{shown(item)} is not strictly inside {cidr}; the peer matches nobody"
            report.error("invalid-except", place, message, "give a smaller block within cidr")
            inner = None
        if inner is None:
            complete = False
        else:
            found.add(inner)
    return tuple(sorted(found)) if complete else None


def _cidr(value: object, path: str, code: str, report: Report) -> Cidr | None:
    remedy = "write an address and a prefix length, as in 192.0.2.0/24 or 2001:db8::/32"
    if value is None or value == "":
        report.error(code, path, "is missing; the peer matches nobody", remedy)
    elif not isinstance(value, str):
        report.error(code, path, f"{typed(value)}, not a text; the peer matches nobody", remedy)
    else:
        try:
            return parse_cidr(value)
        except AddressError:
            report.error(code, path, f"{shown(value)} is no CIDR block; the peer matches nobody", remedy)
    return None


def _ports(value: object, path: str, report: Report) -> tuple[PolicyPort, ...] | None:
    if value is None or value == []:
        return None
    if not isinstance(value, list):
        message = f"is {type_name(value)}, not a list; the rule matches no port"
        report.error("wrong-type", path, message, "write each port as an item: - port: 8080")
        return ()
    ports = (_port(index, item, f"{path}[{index}]", report) for index, item in enumerate(value))
    return tuple(port for port in ports if port is not None)


def _port(index: int, item: object, path: str, report: Report) -> PolicyPort | None:
    """One port, or None when it has to match nothing (rules 2.31 to 2.33 and 2.70 c to e)."""
    if not isinstance(item, dict):
        message = f"is {type_name(item)}, not a mapping; it matches no port"
        report.error("invalid-port" if item is None else "wrong-type", path, message, "write - port: 8080")
        return None
    has_unknown = report_widening(item, _PORT_FIELDS, path, report)
    protocol = _protocol(item.get("protocol"), f"{path}.protocol", report)
    port, is_port = _number_or_name(item.get("port"), f"{path}.port", report)
    end, is_end = (
        _end_port(item.get("endPort"), port, f"{path}.endPort", report) if is_port else (None, False)
    )
    if has_unknown or protocol is None or not is_port or not is_end:
        return None
    return PolicyPort(index, protocol, port, end)


def _protocol(value: object, path: str, report: Report) -> Protocol | None:
    if value is None:
        return Protocol.TCP  # rule 2.5
    protocol = _PROTOCOLS.get(value) if isinstance(value, str) else None
    if protocol is None:
        remedy = "write TCP, UDP or SCTP, in capitals"
        report.error("invalid-protocol", path, f"{shown(value)} is no protocol; it matches no port", remedy)
    return protocol


def _number_or_name(value: object, path: str, report: Report) -> tuple[int | str | None, bool]:
    """The port and whether it is one; a missing port is every port (rule 2.32)."""
    if value is None:
        return None, True
    if type(value) is int:
        if 1 <= value <= _LAST_PORT:
            return value, True
        report.error("invalid-port", path, f"{shown(value)} is not within 1 to 65535; it matches no port")
    elif not isinstance(value, str):
        message = f"{typed(value)}, not a port; it matches no port"
        report.error("invalid-port", path, message, "write a number, or the name of a container port")
    elif problem := port_name_problem(value):
        remedy = (
            "write it without quotes"
            if value.isdecimal()
            else "write a number, or the name of a container port"
        )
        report.error(
            "invalid-port", path, f"{shown(value)} is no port: a name {problem}; it matches no port", remedy
        )
    else:
        return value, True
    return None, False


def _end_port(value: object, port: int | str | None, path: str, report: Report) -> tuple[int | None, bool]:
    """The last port of a range and whether it is one; a missing endPort is fine (rule 2.33)."""
    if value is None:
        return None, True
    if type(value) is not int:
        message, remedy = (
            f"{typed(value)}, not a number",
            "write a number without quotes",
        )
    elif port is None:
        message, remedy = "stands without port", "add port, the first of the range"
    elif isinstance(port, str):
        message, remedy = f"stands with the named port {shown(port)}", "give port as a number"
    elif value < port:
        message, remedy = f"{shown(value)} is below port {port}", "give the higher number as endPort"
    elif value > _LAST_PORT:
        message, remedy = f"{shown(value)} is not within 1 to 65535", "65535 is the last port"
    else:
        return value, True
    report.error("invalid-end-port", path, f"{message}; it matches no port", remedy)
    return None, False

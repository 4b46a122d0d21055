"""Cluster addresses of Services: 10.96.0.0/16, and fd00:96::/112 where two families are asked for."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from controller.lab.apiserver.status import Cause, invalid
from controller.lab.apiserver.store import Object

SERVICES_V4 = IPv4Network("10.96.0.0/16")
SERVICES_V6 = IPv6Network("fd00:96::/112")
_FIRST_NODE_PORT = 30000


class _Range:
    """One block of addresses, given out in order, those set free only after all others."""

    def __init__(self, block: IPv4Network | IPv6Network) -> None:
        self._block = block
        self._next = 1
        self._used: set[str] = set()

    def take(self) -> str:
        """A free address."""
        while True:
            self._next = self._next % (self._block.num_addresses - 2) + 1
            address = str(self._block[self._next])
            if address not in self._used:
                self._used.add(address)
                return address

    def reserve(self, address: str) -> bool:
        """Take a certain one; False when it is taken."""
        if address in self._used:
            return False
        self._used.add(address)
        return True

    def release(self, address: str) -> None:
        """It is free again."""
        self._used.discard(address)


class ServiceAddresses:
    """Which Service has which address and node port."""

    def __init__(self) -> None:
        self._ranges = {"IPv4": _Range(SERVICES_V4), "IPv6": _Range(SERVICES_V6)}
        self._node_ports: set[int] = set()

    def allocate(self, value: Object, old: Object | None) -> None:
        """Default a Service and give it what it needs. Raises ApiError 422."""
        spec: dict[str, Any] = value.get("spec") or {}
        value["spec"] = spec
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))
        value["status"] = value.get("status") or {"loadBalancer": {}}
        if spec["type"] == "ExternalName":
            return
        self._take_node_ports(spec)
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
            return
        before = (old or {}).get("spec", {}).get("clusterIPs") or []
        self._take_addresses(value, spec, before)

    def release(self, value: Object) -> None:
        """A Service is gone."""
        spec = value.get("spec") or {}
        for address in spec.get("clusterIPs") or ():
            if address != "None":
                self._ranges[_family(address)].release(address)
        for port in spec.get("ports") or ():
            self._node_ports.discard(port.get("nodePort"))

    def _take_addresses(self, value: Object, spec: dict[str, Any], before: list[str]) -> None:
        policy = spec.setdefault("ipFamilyPolicy", "SingleStack")
        families = list(spec.get("ipFamilies") or ())
        wanted = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else before))
        families = families or [_family(address) for address in wanted] or ["IPv4"]
        if policy != "SingleStack" and len(families) == 1:
            families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        addresses = []
        for index, family in enumerate(families):
            address = wanted[index] if index < len(wanted) else self._ranges[family].take()
            if index < len(wanted) and address not in before and not self._ranges[family].reserve(address):
                message = f'Invalid value: "{address}": failed to allocate IP: it is already allocated'
                raise invalid(
                    "", "Service", value["metadata"]["name"], [Cause(f"spec.clusterIPs[{index}]", message)]
                )
            addresses.append(address)
        spec.update(ipFamilies=families, clusterIPs=addresses, clusterIP=addresses[0])

    def _take_node_ports(self, spec: dict[str, Any]) -> None:
        if spec["type"] not in ("NodePort", "LoadBalancer"):
            return
        for port in spec.get("ports") or ():
            if not port.get("nodePort"):
                free = _FIRST_NODE_PORT
                while free in self._node_ports:
                    free += 1
                port["nodePort"] = free
            self._node_ports.add(port["nodePort"])


def _family(address: str) -> str:
    """IPv4 or IPv6. Raises ApiError 422 for what is no address."""
    for family, kind in (("IPv4", IPv4Address), ("IPv6", IPv6Address)):
        try:
            kind(address)
        except ValueError:
            continue
        return family
    raise invalid(
        "",
        "Service",
        "",
        [Cause("spec.clusterIPs", f'Invalid value: "{address}": must be a valid IP address')],
    )

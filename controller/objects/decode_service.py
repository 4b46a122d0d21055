"""Services, as far as they lead to pods: their addresses, their ports, and whom they select.

Policies never see them: kube-proxy translates before policies are asked. They are read to say so.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from controller.objects.addresses import AddressError, format_address, parse_address
from controller.objects.decode_metadata import identify
from controller.objects.findings import Finding, Source
from controller.objects.kinds import Protocol, Service, ServicePort
from controller.objects.report import Report


class _WirePort(Struct, rename="camel"):
    port: int
    target_port: int | str | None = None
    protocol: str | None = None


class _WireSpec(Struct, rename="camel"):
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    selector: dict[str, str] | None = None
    ports: list[_WirePort] | None = None


def decode_service(
    data: Mapping[str, Any],
    source: Source = Source(),  # noqa: B008 - frozen
) -> tuple[Service | None, tuple[Finding, ...]]:
    """A Service, or None and what is wrong with it. Never raises."""
    identity = identify(data, source)
    report = Report(f"Service {identity}", source)
    try:
        spec = msgspec.convert(data.get("spec") or {}, _WireSpec)
        texts = dict.fromkeys([*(spec.cluster_ips or ()), spec.cluster_ip or ""])
        addresses = tuple(format_address(*parse_address(text)) for text in texts if text not in {"", "None"})
        ports = tuple(_port(each) for each in spec.ports or ())
    except (msgspec.ValidationError, AddressError, KeyError) as error:
        report.warning(
            "service-not-read", "spec", f"cannot be read: {error}", "its address is taken for any other"
        )
        return None, report.findings
    service = Service(
        namespace=identity.namespace,
        name=identity.name,
        addresses=addresses,
        selector=spec.selector or {},
        ports=ports,
    )
    return service, report.findings


def _port(wire: _WirePort) -> ServicePort:
    return ServicePort(Protocol[wire.protocol or "TCP"], wire.port, wire.target_port or wire.port)

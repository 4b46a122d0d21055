"""Services as NAT rules."""

from controller.lab.services import hook_text, nat_text, virtual_ports
from controller.objects.kinds import Protocol
from tests.unit.lab.cluster import listening_at, pod, service


def test_a_service_leads_to_ready_pods_with_its_labels_by_the_number_of_each() -> None:
    pods = [
        pod("a", app="web", ips=("10.0.0.1",), spec=listening_at(8080)),
        pod("b", app="web", ips=("10.0.0.2",), spec=listening_at(9090)),
        pod("other", app="db", ips=("10.0.0.3",), spec=listening_at(8080)),
        pod("unready", app="web", ips=("10.0.0.4",), ready=False, spec=listening_at(8080)),
        pod("going", app="web", ips=("10.0.0.5",), terminating=True, spec=listening_at(8080)),
        pod("no-such-port", app="web", ips=("10.0.0.6",), spec=listening_at(8080, "admin")),
    ]

    (port,) = virtual_ports([service()], {"x": pods})

    assert port.endpoints == (("10.0.0.1", 8080), ("10.0.0.2", 9090))
    assert (port.address, port.port, port.protocol) == ("10.96.0.9", 80, Protocol.TCP)


def test_a_service_of_another_namespace_has_nothing_to_do_with_these_pods() -> None:
    pods = [pod("a", app="web", ips=("10.0.0.1",), spec=listening_at(8080))]

    (port,) = virtual_ports([service()], {"y": pods})

    assert port.endpoints == ()


def test_a_headless_service_has_no_rules() -> None:
    assert virtual_ports([service(address="None")], {}) == []


def test_a_service_without_selector_leads_nowhere() -> None:
    pods = [pod("a", app="web", ips=("10.0.0.1",), spec=listening_at(8080))]

    (port,) = virtual_ports([service(selector=None)], {"x": pods})

    assert port.endpoints == ()


def test_unready_pods_are_taken_where_the_service_says_so() -> None:
    pods = [pod("a", app="web", ips=("10.0.0.1",), ready=False, spec=listening_at(8080))]

    (port,) = virtual_ports([service(publishNotReadyAddresses=True)], {"x": pods})

    assert port.endpoints == (("10.0.0.1", 8080),)


def test_each_endpoint_is_as_likely_as_the_others() -> None:
    pods = [
        pod(f"p{last}", app="web", ips=(f"10.0.0.{last}",), spec=listening_at(8080)) for last in (1, 2, 3)
    ]

    text = nat_text(virtual_ports([service()], {"x": pods}), 4)

    chances = [line.split("--probability ")[1].split()[0] for line in text.splitlines() if "--prob" in line]
    assert chances == ["0.333333", "0.500000"]
    assert text.count("-j DNAT") == 3


def test_a_pod_that_meets_itself_is_masqueraded() -> None:
    pods = [pod("a", app="web", ips=("10.0.0.1",), spec=listening_at(8080))]

    text = nat_text(virtual_ports([service()], {"x": pods}), 4)

    assert "-A LAB-HAIRPIN -s 10.0.0.1 -d 10.0.0.1 -j MASQUERADE" in text


def test_families_are_kept_apart() -> None:
    pods = [pod("a", app="web", ips=("10.0.0.1", "fd00::1"), spec=listening_at(8080))]
    ports = virtual_ports([service(clusterIPs=["10.96.0.9", "fd00:96::9"])], {"x": pods})

    assert "--to-destination 10.0.0.1:8080" in nat_text(ports, 4)
    assert "--to-destination [fd00::1]:8080" in nat_text(ports, 6)
    assert "10.0.0.1" not in nat_text(ports, 6)


def test_only_the_chains_of_the_lab_are_touched() -> None:
    chains = {line.split()[1] for line in nat_text([], 4).splitlines() if line.startswith("-F")}

    assert chains == {"LAB-SERVICES", "LAB-HAIRPIN"}
    assert "-F" not in hook_text()

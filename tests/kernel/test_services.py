"""Policies see what is behind a Service (rule 2.48): the rules of kube-proxy come first."""

import pytest

from controller.dataplane.settings import Settings
from tests.kernel.ends import End
from tests.kernel.mirror import mirror
from tests.kernel.rules import Service
from tests.kernel.trial import Trial
from tests.kernel.wording import BOTH, egress, ingress, namespaces, pods, ports, probes

pytestmark = pytest.mark.kernel

ADDRESSES = {4: "10.96.0.10", 6: "fd00:10:96::a"}
BOTH_ADDRESSES = " ".join(ADDRESSES.values())


def serve(trial: Trial, pod: str, port: int) -> None:
    """A Service in front of a port of a pod, in both families, itself at port 80."""
    backends = {family: End(pod, trial.lab.address(pod, family)) for family in ADDRESSES}
    trial.serve(*(Service(address, 80, backends[family], port) for family, address in ADDRESSES.items()))


def test_a_service_is_judged_by_the_pod_behind_it(trial: Trial) -> None:
    """At both ends: the port is the pod's, the peer is the pod."""
    serve(trial, "y/b", 8080)
    cluster = mirror(trial.lab).policy("x/out", egress(namespaces(ns="y"), ports=ports(8080)))
    trial.enforce(cluster.policy("y/in", ingress(pods(pod="a") | namespaces(ns="x"))).build())

    trial.expect(allowed=probes("x/a", BOTH_ADDRESSES), denied=probes("x/b x/c", BOTH_ADDRESSES))


def test_the_port_of_a_service_means_nothing_to_a_policy(trial: Trial) -> None:
    serve(trial, "x/b", 8080)
    trial.enforce(mirror(trial.lab).policy("x/in", ingress(ports=ports(80))).build())

    trial.expect(denied=probes("x/a x/c", BOTH_ADDRESSES))


@pytest.mark.parametrize("by_bpf", [True, False], ids=["bpf", "rule-per-pod"])
def test_a_pod_reaches_itself_through_its_service(trial: Trial, by_bpf: bool) -> None:
    """Rule 2.45."""
    serve(trial, "x/a", 8080)
    cluster = mirror(trial.lab).policy("x/deny", BOTH).build()
    trial.enforce(cluster, Settings(hairpin_by_bpf=by_bpf))

    trial.expect(allowed=probes("x/a", BOTH_ADDRESSES), denied=probes("x/b y/a", BOTH_ADDRESSES))

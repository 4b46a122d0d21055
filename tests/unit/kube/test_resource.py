"""Paths of the API."""

import pytest

from controller.kube.resource import LEASES, NETWORK_POLICIES, NODES, PODS, Resource, Selection


def test_paths_of_the_core_group_and_of_others() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("shop") == "/api/v1/namespaces/shop/pods"
    assert NODES.path("", "node-1", "status") == "/api/v1/nodes/node-1/status"
    assert LEASES.path("a", "b") == "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"


def test_a_name_is_one_segment_of_the_path() -> None:
    assert PODS.path("shop", "a b:c?d") == "/api/v1/namespaces/shop/pods/a%20b%3Ac%3Fd"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "%2e%2e", "../../secrets"])
def test_a_name_never_leads_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of an API path"):
        PODS.path("shop", name)


def test_a_namespaced_object_needs_its_namespace_and_a_cluster_scoped_one_has_none() -> None:
    with pytest.raises(ValueError, match="pods 'web': a namespace is needed"):
        PODS.path("", "web")
    with pytest.raises(ValueError, match="nodes are cluster-scoped"):
        NODES.path("shop")


def test_a_resource_is_called_as_kubectl_calls_it() -> None:
    assert (str(PODS), str(NETWORK_POLICIES)) == ("pods", "networkpolicies.networking.k8s.io")
    assert Resource("apps", "v1", "deployments", namespaced=True, kind="Deployment").api_version == "apps/v1"


def test_a_selection_sends_only_what_it_selects_by() -> None:
    assert Selection("shop").params() == {}
    assert Selection("", "a=b", "c=d").params() == {"labelSelector": "a=b", "fieldSelector": "c=d"}

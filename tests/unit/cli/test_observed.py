"""Verbs that touch a kernel enforce for addresses that objects name, and for no others (rule 2.53)."""

from pathlib import Path

import pytest

from controller.cli.node_options import view_of

MANIFESTS = """
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDR: 10.0.0.0/24}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
spec: {podCIDR: 10.0.1.0/24}
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: x}]}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: pending, labels: {app: web}}
spec: {nodeName: n2, containers: [{name: main, image: x}]}
status: {phase: Pending}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: job, labels: {app: web}}
spec: {nodeName: n2, containers: [{name: main, image: x}]}
status: {phase: Succeeded}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: real, labels: {app: web}}
spec: {nodeName: n2, containers: [{name: main, image: x}]}
status: {podIP: 10.0.1.9, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: n1, containers: [{name: main, image: x}]}
status: {podIP: 10.0.0.5, phase: Running}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
"""


@pytest.fixture
def manifests(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    return {
        "paths": [str(tmp_path)],
        "kustomize": [],
        "recursive": False,
        "kubeconfig": "",
        "strict": False,
    }


def test_nobody_gets_an_address_that_no_object_names(manifests: dict[str, object]) -> None:
    view, _ = view_of("n1", manifests)

    assert [pod.name for pod in view.pods] == ["db"]
    assert {*view.groups.values()} == {frozenset({"10.0.1.9"})}


def test_those_without_an_address_are_named(
    manifests: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    view_of("n1", manifests)

    told = capsys.readouterr().err
    assert "no peers and not isolated: Pod shop/pending" in told
    assert "job" not in told

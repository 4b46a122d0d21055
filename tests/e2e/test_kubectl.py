"""The real kubectl, unmodified, against the lab's API server, over https with a token and RBAC."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.lab.apiserver import write_kubeconfig

KUBECTL = shutil.which("kubectl")
SHOP = Path(__file__).parents[2] / "examples/shop"
SECONDS = 20

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


class Kubectl:
    """Runs kubectl as one user."""

    def __init__(self, kubeconfig: Path, cache: Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(cache)}

    def run(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 (the binary of the machine, words of the tests)
            [str(KUBECTL), *arguments],
            input=stdin,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=SECONDS * 3,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def get(self, *arguments: str) -> Any:  # noqa: ANN401 (plain values)
        return json.loads(self("get", *arguments, "-o", "json"))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603 (as above)
            [str(KUBECTL), *arguments], env=self._environment, stdout=subprocess.PIPE, text=True
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the kubeconfigs of a server that runs: `admin` and `guest`."""
    folder = tmp_path_factory.mktemp("apiserver")
    tokens = folder / "tokens"
    tokens.write_text("root,admin,1,system:masters\nother,guest,2\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "controller.lab.apiserver", "--rbac", "--self-signed", str(folder)),
        *(
            "--tokens",
            str(tokens),
            "--kubeconfig",
            str(folder / "admin"),
            "--port-file",
            str(folder / "port"),
        ),
    ]
    with subprocess.Popen(command) as process:  # noqa: S603 (our own module)
        try:
            deadline = time.monotonic() + SECONDS
            while not (folder / "port").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            url = f"https://127.0.0.1:{(folder / 'port').read_text(encoding='utf-8').strip()}"
            write_kubeconfig(folder / "guest", url, token="other", authority=folder / "tls.crt")  # noqa: S106
            yield folder
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0


@pytest.fixture
def kubectl(place: Path) -> Iterator[Kubectl]:
    """As administrator, in a cluster without objects of other tests."""
    admin = Kubectl(place / "admin", place / "cache")
    before = set(admin("get", "namespaces", "-o", "name").split())
    yield admin
    admin("delete", "pods,configmaps,networkpolicies,deployments", "--all", "-n", "default")
    for name in set(admin("get", "namespaces", "-o", "name").split()) - before:
        admin("delete", name)


POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 80}]
"""

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
"""
WIDGET = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: SIZE}
"""


def test_it_knows_the_server_and_its_kinds(kubectl: Kubectl) -> None:
    assert "Server Version: v1." in kubectl("version")
    assert "networkpolicies.networking.k8s.io" in kubectl("api-resources", "-o", "name").split()
    assert "apps/v1" in kubectl("api-versions").split()
    assert kubectl("get", "--raw", "/readyz") == "ok"


def test_an_example_is_applied_read_and_applied_again(kubectl: Kubectl) -> None:
    def states() -> dict[str, str]:
        kinds = "namespaces,networkpolicies,statefulsets,deployments,services"
        found = kubectl.get(kinds, "-A")["items"]
        return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in found}

    kubectl("apply", "-f", str(SHOP))
    first = states()
    kubectl("apply", "-f", str(SHOP))

    # kubectl says "configured" of policies whose protocol was defaulted; what is stored stays as it is.
    assert len(first) > 20
    assert states() == first


def test_a_policy_is_read_back_with_its_defaults(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POLICY)

    text = kubectl("get", "networkpolicy", "web", "-o", "yaml")

    assert "policyTypes:\n  - Ingress\n" in text
    assert "protocol: TCP" in text
    assert "Allowing ingress traffic:" in kubectl("describe", "networkpolicy", "web")


@pytest.mark.parametrize("validation", ["--validate=false", "--validate=strict"])
def test_a_policy_that_is_wrong_is_refused_with_its_field(kubectl: Kubectl, validation: str) -> None:
    done = kubectl.run("apply", validation, "-f", "-", stdin=POLICY.replace("80", "80000"))

    assert done.returncode == 1
    assert "spec.ingress[0].ports[0].port" in done.stderr


def test_an_unknown_field_is_refused_when_validating(kubectl: Kubectl) -> None:
    done = kubectl.run("apply", "-f", "-", stdin=POLICY.replace("ingress:", "ingres:"))

    assert done.returncode == 1
    assert 'unknown field "spec.ingres"' in done.stderr


def test_a_changed_manifest_changes_what_it_says_and_no_more(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POLICY)
    kubectl("label", "networkpolicy", "web", "kept=yes")

    assert kubectl("apply", "-f", "-", stdin=POLICY.replace("80", "8080")) == (
        "networkpolicy.networking.k8s.io/web configured\n"
    )

    found = kubectl.get("networkpolicy", "web")
    assert found["spec"]["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    assert found["metadata"]["labels"] == {"kept": "yes"}
    assert found["metadata"]["generation"] == 2


def test_a_pod_is_run_labelled_annotated_patched_described_and_deleted(kubectl: Kubectl) -> None:
    kubectl("run", "web", "--image=registry.example/web", "--labels=app=web", "--port=80")
    kubectl("label", "pod", "web", "tier=front", "--overwrite")
    kubectl("annotate", "pod", "web", "note=hello")
    image = {"spec": {"containers": [{"name": "web", "image": "registry.example/new"}]}}
    kubectl("patch", "pod", "web", "-p", json.dumps(image))
    kubectl("patch", "pod", "web", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/labels/tier"}]')

    found = kubectl.get("pod", "web")
    described = kubectl("describe", "pod", "web")
    deleted = kubectl("delete", "pod", "web")

    assert found["metadata"]["labels"] == {"app": "web"}
    assert found["metadata"]["annotations"] == {"note": "hello"}
    assert found["spec"]["containers"][0]["image"] == "registry.example/new"
    assert "Image:        registry.example/new" in described
    assert deleted.startswith('pod "web" deleted')
    assert kubectl.run("get", "pod", "web").returncode == 1


def test_the_status_of_a_pod_is_patched_and_waited_for(kubectl: Kubectl) -> None:
    kubectl("run", "web", "--image=registry.example/web")
    waiting = kubectl.start("wait", "pod/web", "--for=condition=Ready", f"--timeout={SECONDS}s")

    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    kubectl("patch", "pod", "web", "--subresource=status", "-p", json.dumps(status))

    out, _ = waiting.communicate(timeout=SECONDS)
    assert (waiting.returncode, out) == (0, "pod/web condition met\n")


def test_a_deletion_is_waited_for(kubectl: Kubectl) -> None:
    kubectl("run", "web", "--image=registry.example/web")
    waiting = kubectl.start("wait", "pod/web", "--for=delete", f"--timeout={SECONDS}s")

    kubectl("delete", "pod", "web")

    waiting.communicate(timeout=SECONDS)
    assert waiting.returncode == 0


def test_changes_are_watched(kubectl: Kubectl) -> None:
    kubectl("run", "first", "--image=registry.example/web")
    with kubectl.start("get", "pods", "-w", "-o", "name") as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        kubectl("run", "second", "--image=registry.example/web")
        second = watching.stdout.readline()
        watching.terminate()

    assert (first, second) == ("pod/first\n", "pod/second\n")


def test_objects_are_selected(kubectl: Kubectl) -> None:
    for name in ("a", "b", "c"):
        kubectl("run", name, "--image=registry.example/web", f"--labels=app={name}")

    by_label = kubectl("get", "pods", "-l", "app in (a,b)", "-o", "name").split()
    by_field = kubectl("get", "pods", "--field-selector=metadata.name!=a", "-o", "name").split()

    assert by_label == ["pod/a", "pod/b"]
    assert by_field == ["pod/b", "pod/c"]
    assert len(kubectl("get", "pods", "--chunk-size=2", "-o", "name").split()) == 3


def test_an_object_is_created_once_and_replaced(kubectl: Kubectl) -> None:
    manifest = kubectl("create", "configmap", "words", "--from-literal=a=1", "--dry-run=client", "-o", "yaml")
    kubectl("create", "-f", "-", stdin=manifest)

    again = kubectl.run("create", "-f", "-", stdin=manifest)
    kubectl("replace", "-f", "-", stdin=manifest.replace('"1"', '"2"'))

    assert "AlreadyExists" in again.stderr
    assert kubectl.get("configmap", "words")["data"] == {"a": "2"}


def test_a_namespace_is_made_from_a_manifest_and_deleted_with_its_contents(kubectl: Kubectl) -> None:
    manifest = kubectl("create", "namespace", "shop", "--dry-run=client", "-o", "yaml")
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("run", "web", "-n", "shop", "--image=registry.example/web")

    kubectl("delete", "namespace", "shop")

    assert kubectl.get("pods", "-A")["items"] == []


def test_server_side_apply_takes_part_with_other_owners(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=POLICY)
    changed = POLICY.replace("80", "8080")

    refused = kubectl.run("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=changed)
    forced = kubectl(
        "apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", stdin=changed
    )

    assert 'conflict with "one": .spec.ingress' in refused.stderr
    assert forced == "networkpolicy.networking.k8s.io/web serverside-applied\n"
    assert kubectl.get("networkpolicy", "web")["spec"]["ingress"][0]["ports"][0]["port"] == 8080


def test_server_side_apply_takes_over_from_client_side_apply(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POLICY)

    kubectl("apply", "--server-side", "-f", "-", stdin=POLICY.replace("80", "8080"))

    assert kubectl.get("networkpolicy", "web")["spec"]["ingress"][0]["ports"][0]["port"] == 8080


def test_a_custom_resource_is_defined_waited_for_and_used(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEFINITION)
    kubectl("wait", "crd/widgets.example.com", "--for=condition=Established", f"--timeout={SECONDS}s")
    kubectl("apply", "-f", "-", stdin=WIDGET.replace("SIZE", "1"))
    kubectl("apply", "-f", "-", stdin=WIDGET.replace("SIZE", "2"))

    refused = kubectl.run("apply", "-f", "-", stdin=WIDGET.replace("SIZE", "big"))
    found = kubectl.get("wd", "one")
    kubectl("delete", "crd", "widgets.example.com")

    assert found["spec"] == {"size": 2}
    assert "must be of type integer" in refused.stderr


def test_a_difference_is_shown_without_a_change(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POLICY)

    done = kubectl.run("diff", "-f", "-", stdin=POLICY.replace("80", "8080"))

    assert (done.returncode, "+    - port: 8080" in done.stdout) == (1, True)
    assert kubectl.get("networkpolicy", "web")["spec"]["ingress"][0]["ports"][0]["port"] == 80


def test_roles_decide_what_a_guest_may_do(kubectl: Kubectl, place: Path) -> None:
    guest = Kubectl(place / "guest", place / "cache-guest")
    kubectl("run", "web", "--image=registry.example/web")
    before = guest.run("get", "pods")
    for manifest in (
        ("role", "reader", "--verb=get,list,watch", "--resource=pods"),
        ("rolebinding", "reader", "--role=reader", "--user=guest"),
    ):
        kubectl("apply", "-f", "-", stdin=kubectl("create", *manifest, "--dry-run=client", "-o", "yaml"))

    listed = guest("get", "pods", "-o", "name")
    refused = guest.run("delete", "pod", "web")
    kubectl("delete", "rolebinding,role", "reader")

    assert "Forbidden" in before.stderr
    assert listed == "pod/web\n"
    assert 'User "guest" cannot delete resource "pods"' in refused.stderr

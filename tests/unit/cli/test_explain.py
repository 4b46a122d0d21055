"""`podgate explain`: which pods a text names, and what is said where the pods of a workload differ."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.cli.explain import command
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.targets import parse_service
from controller.objects.kinds import Protocol


def pod(key: str, ip: str = "", *, owner: str = "", phase: str = "Running", labels: str = "app: web") -> str:
    namespace, name = key.split("/")
    owners = f"[{{apiVersion: apps/v1, kind: StatefulSet, name: {owner}, uid: u, controller: true}}]"
    return (
        "apiVersion: v1\nkind: Pod\n"
        f"metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}"
        f"{f', ownerReferences: {owners}' if owner else ''}}}\n"
        "spec: {nodeName: node-1, containers: []}\n"
        f"status: {{phase: {phase}, podIPs: [{f'{{ip: {ip}}}' if ip else ''}]}}\n---\n"
    )


def policy(spec: str) -> str:
    return (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: some, namespace: data}}\nspec: {spec}\n---\n"
    )


DB = pod("data/db", "10.0.0.9", labels="app: db")
REPLICAS = pod("shop/web-0", "10.0.0.1", owner="web") + pod("shop/web-1", "10.0.0.2", owner="web")
FROM_ONE = policy(
    "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/32}}], ports: [{port: 80}]}]}"
)


class Asked:
    """The verb on one file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "all.yaml"

    def run(self, manifests: str, *arguments: str) -> Result:
        self.file.write_text(manifests)
        words: Sequence[str] = [*arguments, "-f", str(self.file)]
        result = CliRunner().invoke(command, words, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_pods_of_a_workload_with_one_answer_are_answered_by_the_first(asked: Asked) -> None:
    result = asked.run(REPLICAS + DB, "shop/sts/web", "data/db", "--port", "80")
    assert result.return_value == CLEAN
    assert result.stdout.startswith("shop/web-0 -> data/db 80/TCP: ALLOWED\n")
    assert "web-1" not in result.stdout


def test_where_the_pods_of_a_workload_differ_both_answers_are_shown(asked: Asked) -> None:
    result = asked.run(REPLICAS + DB + FROM_ONE, "shop/sts/web", "data/db", "--port", "80")
    assert result.return_value == FOUND
    assert "shop/web-0 -> data/db 80/TCP: ALLOWED" in result.stdout
    assert "shop/web-1 -> data/db 80/TCP: DENIED" in result.stdout
    assert "note: other pods get another answer: shop/web-1 -> data/db" in result.stdout


def test_pods_of_the_destination_are_compared_too(asked: Asked) -> None:
    closed = policy("{podSelector: {matchLabels: {slot: b}}}")
    open_end = pod("data/db-0", "10.0.0.8", owner="db")
    ends = open_end + pod("data/db-1", "10.0.0.9", owner="db", labels="slot: b")
    result = asked.run(REPLICAS + ends + closed, "shop/web", "data/db", "--port", "80")
    assert result.return_value == FOUND
    assert "shop/web-0 -> data/db-1 80/TCP: DENIED" in result.stdout


def test_without_a_port_the_connections_of_the_pods_are_compared(asked: Asked) -> None:
    result = asked.run(REPLICAS + DB + FROM_ONE, "shop/sts/web", "data/db")
    assert result.return_value == FOUND
    assert "shop/web-1 -> data/db any port: DENIED" in result.stdout


def test_a_pod_of_one_family_only_is_compared_in_that_family(asked: Asked) -> None:
    dual = pod("shop/web-0", "10.0.0.1}, {ip: 'fd00::1'", owner="web")
    both = dual + pod("shop/web-1", "10.0.0.2", owner="web")
    end = pod("data/db", "10.0.0.9}, {ip: 'fd00::9'")
    assert asked.run(both + end, "shop/web", "data/db").return_value == CLEAN


def test_names_in_the_text_are_printable(asked: Asked) -> None:
    host = pod("shop/agent", "10.0.9.1").replace("nodeName: node-1", 'hostNetwork: true, nodeName: "n\\e[2J"')
    result = asked.run(host + DB, "shop/agent", "data/db", "--port", "80", "--rules")
    assert "\x1b" not in result.output
    assert "10.0.9.1" in result.output


def test_json_has_both_answers_and_is_not_allowed(asked: Asked) -> None:
    result = asked.run(REPLICAS + DB + FROM_ONE, "shop/sts/web", "data/db", "--port", "80", "-o", "json")
    document = json.loads(result.stdout)
    assert document["allowed"] is False
    assert [path["from"]["name"] for path in document["paths"]] == ["shop/web-0", "shop/web-1"]


def test_of_very_many_pods_the_first_are_compared_and_that_is_said(asked: Asked) -> None:
    many = "".join(pod(f"shop/web-{number}", f"10.0.1.{number}", owner="web") for number in range(60))
    result = asked.run(many + DB, "shop/sts/web", "data/db", "--port", "80")
    assert result.return_value == CLEAN
    assert "note: only 50 of the 60 pods of shop/sts/web were compared" in result.stdout


def test_a_finished_pod_of_a_workload_does_not_hide_the_live_ones(asked: Asked) -> None:  # rule 2.54
    done = pod("shop/web-0", "10.0.0.1", owner="web", phase="Succeeded")
    live = pod("shop/web-1", "10.0.0.2", owner="web")
    assert asked.run(done + live + DB, "shop/sts/web", "data/db").stdout.startswith("shop/web-1 ->")


def test_a_pod_without_an_address_does_not_hide_the_others(asked: Asked) -> None:
    early = pod("shop/web-0", owner="web", phase="Pending").replace("nodeName: node-1, ", "")
    live = pod("shop/web-1", "10.0.0.2", owner="web")
    assert asked.run(early + live + DB, "shop/sts/web", "data/db").return_value == CLEAN


def test_a_workload_that_has_finished_altogether_is_an_error(asked: Asked) -> None:
    done = pod("shop/web-0", "10.0.0.1", owner="web", phase="Succeeded")
    with pytest.raises(CommandError, match="has succeeded"):
        asked.run(done + DB, "shop/sts/web", "data/db")


@pytest.mark.parametrize("text", ["shop/pod/web", "pod/web", "web", "shop/web", "pod/shop/web"])
def test_the_kind_of_a_pod_may_be_written(asked: Asked, text: str) -> None:
    result = asked.run(pod("shop/web", "10.0.0.1") + DB, text, "data/db")
    assert result.stdout.startswith("shop/web ->")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("shop/pod", "shop/pod"),
        ("shop/pod", "pod"),
        ("shop/pod", "shop/pod/pod"),
        ("shop/pod", "pod/pod"),
        ("pod/web", "pod/web"),
        ("pod/web", "pod/pod/web"),
        ("pod/pod", "pod/pod"),
    ],
)
def test_pods_and_namespaces_may_be_called_pod(asked: Asked, key: str, text: str) -> None:
    assert asked.run(pod(key, "10.0.0.1") + DB, text, "data/db").stdout.startswith(f"{key} ->")


def test_the_literal_reading_comes_first(asked: Asked) -> None:
    both = pod("pod/web", "10.0.0.1") + pod("shop/web", "10.0.0.2")
    assert asked.run(both + DB, "pod/web", "data/db").stdout.startswith("pod/web ->")


def test_a_port_with_thousands_of_digits_is_no_port() -> None:
    with pytest.raises(CommandError, match="is not a port number") as caught:
        parse_service("9" * 5000)
    assert len(str(caught.value)) < 200


def test_a_port_may_have_leading_zeros() -> None:
    assert parse_service("00080") == (Protocol.TCP, 80)


def service(
    ip: str = "10.96.0.50", ports: str = "{port: 5432, targetPort: sql}", selector: str = "app: db"
) -> str:
    return (
        "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: data}\n"
        f"spec: {{clusterIP: '{ip}', selector: {{{selector}}}, ports: [{ports}]}}\n---\n"
    )


SQL = DB.replace("containers: []", "containers: [{ports: [{name: sql, containerPort: 6000}]}]")
TO_SQL = policy("{podSelector: {}, ingress: [{ports: [{port: 6000}]}]}")


@pytest.mark.parametrize("text", ["10.96.0.50", "data/svc/db", "svc/data/db"])
def test_a_service_is_answered_for_by_its_pods_at_their_port(asked: Asked, text: str) -> None:
    result = asked.run(REPLICAS + SQL + TO_SQL + service(), "shop/web-0", text, "--port", "5432")

    assert result.return_value == CLEAN
    assert "shop/web-0 -> data/db 6000/TCP: ALLOWED" in result.output
    assert f"{text} is Service data/db: kube-proxy sends its packets to port 6000/TCP" in result.output


def test_each_pod_of_a_service_is_asked_at_its_own_number(asked: Asked) -> None:
    """kube-proxy leads some of the packets to where a policy lets nobody in."""
    other = SQL.replace("name: db", "name: db-b").replace("6000", "7000")
    third = DB.replace("name: db", "name: db-c")
    manifests = REPLICAS + SQL + other + third + TO_SQL + service()

    result = asked.run(manifests, "shop/web-0", "data/svc/db", "--port", "5432")
    found = json.loads(
        asked.run(manifests, "shop/web-0", "data/svc/db", "--port", "5432", "-o", "json").stdout
    )

    assert result.return_value == FOUND
    assert "shop/web-0 -> data/db 6000/TCP: ALLOWED" in result.output
    assert "shop/web-0 -> data/db-b 7000/TCP: DENIED" in result.output
    assert "port 6000/TCP of 1 pod and port 7000/TCP of 1 pod" in result.output
    assert "as they have no port sql: data/db-c" in result.output
    assert [(path["service"], path["allowed"]) for path in found["paths"]] == [
        ("6000/TCP", True),
        ("7000/TCP", False),
    ]
    assert found["allowed"] is False


def test_a_service_whose_pods_deny_is_not_an_address_outside(asked: Asked) -> None:
    manifests = REPLICAS + SQL + policy("{podSelector: {}}") + service()

    assert asked.run(manifests, "shop/web-0", "10.96.0.50", "--port", "5432").return_value == FOUND


def test_without_a_port_the_pods_of_a_service_answer_for_all_of_theirs(asked: Asked) -> None:
    result = asked.run(REPLICAS + SQL + TO_SQL + service(), "shop/web-0", "10.96.0.50")

    assert "of 5432/TCP (port sql there) only" in result.output


@pytest.mark.parametrize(
    ("manifest", "port", "message"),
    [
        (service(), "80", "has no port 80/TCP: it has 5432/TCP"),
        (service(), "icmp", "ask for one of those"),
        (service(selector=""), "5432", "it has no selector"),
        (service(selector="app: nobody"), "5432", "it selects no pods that are there"),
        (service(ports="{port: 5432, targetPort: none}"), "5432", "none of its pods has a port named none"),
    ],
)
def test_a_service_that_leads_nowhere_is_an_error(
    asked: Asked, manifest: str, port: str, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        asked.run(REPLICAS + SQL + manifest, "shop/web-0", "data/svc/db", "--port", port)


def test_a_service_that_is_not_there_is_an_error(asked: Asked) -> None:
    with pytest.raises(CommandError, match="no Service 'data/other'"):
        asked.run(REPLICAS + service(), "shop/web-0", "svc/data/other")


def test_an_address_that_may_be_a_services_is_answered_with_a_caveat(asked: Asked) -> None:
    assert asked.run(REPLICAS, "shop/web-0", "10.96.0.50").output.count("if this is a Service's address") == 1
    assert "Service's" not in asked.run(REPLICAS, "shop/web-0", "203.0.113.9").output
    assert "Service's" not in asked.run(REPLICAS, "shop/web-0", "10.0.0.2").output


def test_a_service_that_cannot_be_read_is_a_warning_and_no_more(asked: Asked) -> None:
    result = asked.run(REPLICAS + service(ip="none"), "shop/web-0", "shop/web-1")

    assert result.return_value == CLEAN
    assert "service-not-read" in result.output


AUDIT = policy("{podSelector: {}}").replace(
    "namespace: data}", "namespace: data, annotations: {podgate.dev/mode: audit}}"
)


def test_what_a_policy_in_audit_mode_would_deny_is_allowed_and_said_so(asked: Asked) -> None:
    result = asked.run(REPLICAS + DB + AUDIT, "shop/web-0", "data/db", "--port", "80")

    assert result.return_value == CLEAN
    assert "80/TCP: ALLOWED; would be denied, were policies in audit mode enforced\n" in result.stdout
    assert "would be denied by these, which are in audit mode, as no rule of theirs matches:" in result.stdout
    assert f"data/some  ({asked.file}:" in result.stdout


def test_json_says_that_a_decision_is_audited(asked: Asked) -> None:
    result = asked.run(REPLICAS + DB + AUDIT, "shop/web-0", "data/db", "--port", "80", "-o", "json")

    (path,) = json.loads(result.stdout)["paths"]
    ingress = path["ingress"]
    assert (ingress["allowed"], ingress["audited"], ingress["reason"]) == (True, True, "Audited")
    assert ingress["isolating"] == ["data/some"]


def test_the_mode_of_policies_that_do_not_say_it_is_an_option(asked: Asked) -> None:
    manifests = REPLICAS + DB + policy("{podSelector: {}}")

    enforced = asked.run(manifests, "shop/web-0", "data/db", "--port", "80")
    audited = asked.run(manifests, "shop/web-0", "data/db", "--port", "80", "--mode", "audit")

    assert (enforced.return_value, audited.return_value) == (FOUND, CLEAN)
    assert "would be denied" in audited.stdout

"""The quick way to a pod gives what the thorough one gives, or gives up."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controller.objects.decode_cluster import decode_pod, plain_pod
from controller.objects.wire import POD_DECODER

words = st.sampled_from(["web", "a-b", "A", "x" * 64, "", " ", "10.0.0.1", "fd00::1", "010.0.0.1", "0.0.0.0"])
odd: st.SearchStrategy[Any] = st.sampled_from([None, 7, 1.5, True, [], {}, "web", -1])


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, usual, usual, usual, odd)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: mostly(value) for name, value in fields.items()})


addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "FD00::1", "010.0.0.1", "0.0.0.0", "", "x"])
ports = some(
    name=st.sampled_from(["http", "dns", "", "no_name"]),
    containerPort=st.sampled_from([80, 8080, 0, 65536]),
    protocol=st.sampled_from(["TCP", "UDP", "SCTP", "ICMP", ""]),
)
containers = st.lists(
    some(ports=st.lists(mostly(ports), max_size=3), restartPolicy=st.sampled_from(["Always", "Never"])),
    max_size=3,
)
pods = st.fixed_dictionaries(
    {
        "metadata": mostly(
            some(
                name=st.sampled_from(["web", "web.1", "Web", ""]),
                namespace=st.sampled_from(["shop", "ops", "", "Shop"]),
                uid=words,
                labels=st.dictionaries(st.sampled_from(["app", "a/b", "b c", ""]), mostly(words), max_size=3),
            )
        )
    },
    optional={
        "spec": mostly(
            some(
                containers=containers,
                initContainers=containers,
                hostNetwork=st.booleans(),
                nodeName=st.sampled_from(["node-1", "", "Node"]),
            )
        ),
        "status": mostly(
            some(
                phase=st.sampled_from(["Running", "Succeeded", "Pending", ""]),
                podIP=addresses,
                podIPs=st.lists(mostly(some(ip=addresses)), max_size=3),
            )
        ),
    },
)


@given(pods)
def test_the_quick_way_agrees_or_gives_up(value: dict[str, Any]) -> None:
    try:
        quick = plain_pod(POD_DECODER.decode(msgspec.json.encode(value)))
    except ValueError:  # as msgspec.ValidationError is
        return

    assert quick == decode_pod(value).pod


def test_the_quick_way_does_not_give_up_on_an_ordinary_pod() -> None:
    value = {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "1", "labels": {"app": "web", "e": ""}},
        "spec": {
            "nodeName": "node-1",
            "hostNetwork": False,
            "containers": [{"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]}],
            "initContainers": [{"ports": [{"name": "init", "containerPort": 1}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}],
        },
    }

    assert plain_pod(POD_DECODER.decode(msgspec.json.encode(value))) == decode_pod(value).pod

"""The collections of the API that only a lab looks at."""

from collections.abc import Mapping

from controller.kube.resource import Resource
from controller.lab.workloads import API_VERSIONS


def _workload(kind: str) -> Resource:
    group, _, version = API_VERSIONS[kind].partition("/")
    return Resource(group, version, f"{kind.lower()}s", namespaced=True, kind=kind)


SERVICES = Resource("", "v1", "services", namespaced=True, kind="Service")
WORKLOADS: Mapping[str, Resource] = {kind: _workload(kind) for kind in API_VERSIONS}

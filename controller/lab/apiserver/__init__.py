"""A Kubernetes API server in one asyncio process, for labs and tests only.

It exists because no package ships a kube-apiserver, and because tests must be able to break one on purpose:
lose watches, compact history, answer 5xx, freeze. It speaks the real protocol (discovery, CRUD, list and
watch, the four patch types, CRDs, RBAC) over real HTTP to unmodified clients: kubectl, kopf, the kubernetes
client. It is no product feature and must not hold anybody's cluster: state is in memory only, there are no
controllers (no garbage collection by owner, no ReplicaSets, no kubelet), CEL rules and admission webhooks
are stored and not run.

`ApiServer` embeds it; `python -m controller.lab.apiserver` runs it as a process of its own.
"""

from controller.lab.apiserver.access import User
from controller.lab.apiserver.kubeconfig import write_kubeconfig
from controller.lab.apiserver.server import ApiServer, Settings

__all__ = ["ApiServer", "Settings", "User", "write_kubeconfig"]

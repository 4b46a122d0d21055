"""What the API server of the lab takes: memory for pods, lists, writes, watches.

    .venv/bin/python hack/bench/apiserver.py [--pods 150000] [--watches 300]

The server runs in a process of its own; the client's own time is part of what is measured.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import ClientSession, ClientTimeout, TCPConnector

T = TypeVar("T")

NODES = 1_000
WRITES = 3_000
PODS = "/api/v1/namespaces/default/pods"


def pod(number: int) -> dict[str, Any]:
    """A small pod, as the lab makes them: 1 kB."""
    app = number % 500
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"app-{app}-{number:06d}",
            "namespace": f"team-{number % 100}",
            "labels": {"app": f"app-{app}", "tier": f"tier-{app % 5}", "pod-template-hash": f"{app:010x}"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"app-{app}",
                    "uid": f"{app:036x}",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "nodeName": f"node-{number % NODES}",
            "containers": [
                {
                    "name": "main",
                    "image": f"registry.example/team/app-{app}:1.2.3",
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            "podIPs": [{"ip": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


async def timed(what: str, work: Awaitable[T]) -> T:
    """Await something and print the seconds it took."""
    started = time.perf_counter()
    result = await work
    print(f"{what:52} {time.perf_counter() - started:8.3f} s")
    return result


def memory(process: "subprocess.Popen[bytes]") -> int:
    """Resident memory in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


async def load(session: ClientSession, count: int) -> None:
    """Namespaces and pods."""

    async def lines() -> AsyncIterator[bytes]:
        for number in range(100):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{number}"}}
            yield json.dumps(namespace).encode() + b"\n"
        for number in range(count):
            yield json.dumps(pod(number)).encode() + b"\n"

    async with session.post("/debug/load", data=lines()) as response:
        answer = await response.json()
        if answer.get("loaded") != count + 100:
            sys.exit(f"loading failed: {answer}")


async def get(session: ClientSession, path: str, **query: str) -> bytes:
    """A body."""
    async with session.get(path, params=query) as response:
        return await response.read()


async def pages(session: ClientSession, path: str) -> int:
    """Reads a list in pages of 500; the number of pages."""
    count, token = 0, ""
    while True:
        body = await get(session, path, limit="500", **{"continue": token} if token else {})
        count += 1
        token = json.loads(body[: body.index(b'"items"')].rstrip(b",") + b"}")["metadata"].get("continue", "")
        if not token:
            return count


async def watch(session: ClientSession, seen: list[int], place: int, **query: str) -> None:
    """Counts the events of one watch."""
    params = {"watch": "true", "resourceVersion": query.pop("revision"), **query}
    async with session.get("/api/v1/pods", params=params) as response:
        async for _ in response.content:
            seen[place] += 1


async def write(session: ClientSession, count: int, at_once: int) -> None:
    """Patches the status of pods, several at once."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            name = f"app-{number % 500}-{number:06d}"
            path = f"/api/v1/namespaces/team-{number % 100}/pods/{name}/status"
            headers = {"Content-Type": "application/merge-patch+json"}
            body = json.dumps({"status": {"note": str(time.time())}})
            async with session.patch(path, data=body, headers=headers) as response:
                await response.read()

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def measure(process: "subprocess.Popen[bytes]", url: str, pods: int, watches: int) -> None:
    """Everything, one after the other."""
    timeout = ClientTimeout(total=None)
    async with ClientSession(url, connector=TCPConnector(limit=0), timeout=timeout) as session:
        await load(session, 5_000)
        body = await timed("list of 5,000 pods", get(session, "/api/v1/pods"))
        print(f"{'  its size':52} {len(body) / 1e6:8.1f} MB")
        await timed(f"load of {pods:,} pods", load(session, pods))
        print(f"{'memory':52} {memory(process):8} MB")
        await timed("list of all in pages of 500", pages(session, "/api/v1/pods"))
        await timed(
            "list of the pods of one node", get(session, "/api/v1/pods", fieldSelector="spec.nodeName=node-1")
        )
        await timed("list of one namespace", get(session, "/api/v1/namespaces/team-1/pods"))
        await timed(f"{WRITES:,} writes without watches", write(session, WRITES, 20))
        state = json.loads(await get(session, "/debug/state"))
        seen = [0] * watches
        tasks = [
            asyncio.create_task(watch(session, seen, place, revision=str(state["revision"]), **query))
            for place in range(watches)
            for query in [{} if place < 3 else {"fieldSelector": f"spec.nodeName=node-{place}"}]
        ]
        while json.loads(await get(session, "/debug/state"))["watches"] < watches:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.05)
        await timed(f"{WRITES:,} writes with {watches} watches (3 of all)", write(session, WRITES, 20))
        while min(seen[:3]) < WRITES:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
        print(f"{'events seen':52} {sum(seen):8}")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(f"{'memory':52} {memory(process):8} MB")


def main() -> None:
    """Start a server, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--watches", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder, "port")
        command = [sys.executable, "-m", "controller.lab.apiserver", "--port-file", str(port)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 (our own module)
            try:
                while not port.exists():
                    time.sleep(0.05)
                url = f"http://127.0.0.1:{port.read_text(encoding='utf-8').strip()}"
                asyncio.run(measure(process, url, arguments.pods, arguments.watches))
            finally:
                process.terminate()


if __name__ == "__main__":
    main()

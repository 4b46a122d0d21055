"""Reading manifests, or a live cluster, for a verb: the shared options, and what is said about bad input.

Every verb treats bad input alike: diagnostics go to standard error, the bad part is quarantined (its pods
stay isolated) and the exit code is 2 whatever the answer. A document that could not be read at all has no
pods to quarantine: verbs that give verdicts refuse to answer then.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from controller.cli.cluster_options import connection_of, kubeconfig_option
from controller.cli.failure import CLEAN, ERROR, CommandError
from controller.cli.output.escapes import plain
from controller.objects.addresses import AddressError, Cidr, parse_cidr
from controller.objects.documents import Document
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Mode
from controller.objects.read import Reading, read

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _CidrList(click.ParamType[tuple[Cidr, ...]]):
    """`10.244.0.0/16,fd00:10:244::/56`."""

    name = "cidr[,cidr]"

    def convert(
        self, value: str | tuple[Cidr, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Cidr, ...]:
        """Parse, or fail as a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(parse_cidr(text.strip()) for text in value.split(","))
        except AddressError as error:
            self.fail(str(error), param, ctx)


CLUSTER = "cluster:"
"""What stands for a live cluster in place of a file: `cluster:`, or `cluster:CONTEXT`."""

filename_option = click.option(
    "-f",
    "--filename",
    "paths",
    type=click.Path(allow_dash=True),
    multiple=True,
    metavar="FILE|DIR|-|cluster:",
    help="Manifests to read, or cluster:[CONTEXT] for what the API server has; repeatable.",
)
kustomize_option = click.option(
    "-k",
    "--kustomize",
    type=click.Path(file_okay=False),
    multiple=True,
    metavar="DIR",
    help="Build a kustomization with kubectl and read it.",
)


_pod_cidr_option = click.option(
    "--pod-cidr",
    "pod_cidrs",
    type=_CidrList(),
    default=(),
    help="Where pods without an address get one, if no Node says so. [10.244.0.0/16]",
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """-R, --mode, --pod-cidr, --strict: how manifests are read. The verb adds where from."""
    return _reading_options(_pod_cidr_option(command))


def _reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("-R", "--recursive", is_flag=True, help="Also read the folders below."),
        click.option(
            "--mode",
            type=click.Choice([mode.value for mode in Mode]),
            help="Of policies without the annotation podgate.dev/mode.  [default: enforce; of cluster: as "
            "its operator has it]",
        ),
        kubeconfig_option("Of cluster:.  [default: $KUBECONFIG, ~/.kube/config, the pod's account]"),
        click.option("--strict", is_flag=True, help="Fail on any finding about the input, warnings too."),
        click.option(
            "--no-color", is_flag=True, help="Plain text; NO_COLOR in the environment does the same."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def manifest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """-f, -k and the reading options."""
    return filename_option(kustomize_option(reading_options(command)))


def observed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a verb that touches a kernel: no pod gets an address that no object names."""
    return filename_option(kustomize_option(_reading_options(command)))


def read_manifests(
    paths: Sequence[str],
    kustomize: Sequence[str],
    *,
    recursive: bool,
    kubeconfig: str,
    strict: bool,
    pod_cidrs: tuple[Cidr, ...] = (),
    mode: str | None = None,
    services: bool = False,
    observed: bool = False,
) -> Reading:
    """Read, and raise CommandError where nothing was named or --strict finds fault.

    Diagnostics are left to `report`. `services`: a live cluster is asked for its Services, too. `observed`:
    what has no address gets none.
    """
    if not paths and not kustomize:
        raise CommandError(
            "nothing to read: name manifests with -f FILE|DIR|-, a live cluster with -f cluster: "
            "or a kustomization with -k DIR"
        )
    contexts = [path.removeprefix(CLUSTER) for path in paths if path.startswith(CLUSTER)]
    reading = read(
        [path for path in paths if not path.startswith(CLUSTER)],
        recursive=recursive,
        kustomize=kustomize,
        pod_cidrs=pod_cidrs,
        stdin=sys.stdin,
        observed=observed,
        documents=[document for each in contexts for document in _live(kubeconfig, each, services=services)],
    )
    if strict and any(finding.severity is not Severity.INFO for finding in reading.findings):
        report(reading.findings)
        raise CommandError("--strict: the input has findings (above)")
    found = Mode(mode) if mode is not None else _live_mode(kubeconfig, contexts)
    return msgspec.structs.replace(reading, cluster=msgspec.structs.replace(reading.cluster, mode=found))


def _live(kubeconfig: str, context: str, *, services: bool) -> list[Document]:
    """What a cluster has. Raises CommandError where it cannot be asked."""
    from controller.cli import live  # noqa: PLC0415 - 300 ms that reading files does not need

    connection = connection_of(os.environ, kubeconfig=kubeconfig, context=context)
    return live.ask(connection, live.documents_and_services if services else live.documents)


def _live_mode(kubeconfig: str, contexts: Sequence[str]) -> Mode:
    """The mode of a cluster's operator; enforce without a cluster, and of several that differ."""
    if not contexts:
        return Mode.ENFORCE
    from controller.cli import live  # noqa: PLC0415 - as above

    modes = {
        live.ask(connection_of(os.environ, kubeconfig=kubeconfig, context=each), live.operator_mode)
        for each in contexts
    }
    return modes.pop() if len(modes) == 1 else Mode.ENFORCE


def report(findings: Sequence[Finding]) -> None:
    """Diagnostics on standard error, one line each; informational ones are `lint`'s to say."""
    for finding in findings:
        if finding.severity is not Severity.INFO:
            click.echo(plain(str(finding)), err=True)


def status_of(findings: Sequence[Finding]) -> int:
    """ERROR where some input is invalid, else CLEAN."""
    return ERROR if any(finding.severity is Severity.ERROR for finding in findings) else CLEAN


def require_readable(reading: Reading) -> None:
    """Raises CommandError where a document could not be read at all: it may have been a policy."""
    if reading.unreadable:
        report(reading.findings)
        raise CommandError(
            "some input could not be read (above), so any answer could be wrong; mend it first"
        )

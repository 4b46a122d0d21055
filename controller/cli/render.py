"""`podgate render`: the very rules and sets the agent would programme on a node."""

import hashlib
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from controller.cli.failure import CommandError
from controller.cli.input import manifest_options, read_manifests, report, status_of
from controller.cli.output.escapes import plain
from controller.cli.targets import node_names
from controller.dataplane.compile import compile_family
from controller.dataplane.render import render_rules, render_sets, safe_comment
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import Settings
from controller.engine.resolve import Resolver

_FAMILIES = {"4": (4,), "6": (6,), "both": (4, 6)}
_RULE_FILES = {4: "iptables.restore", 6: "ip6tables.restore"}
_NO_NODE = "no-node"
_LONGEST_FOLDER = 253
"""As long as a node's name may be; file systems take 255 bytes."""


class _Rendered(msgspec.Struct, frozen=True):
    """One node: its rulesets by family."""

    node: str
    rulesets: tuple[Ruleset, ...]


@click.command("render")
@click.option(
    "--node", "nodes", multiple=True, metavar="NODE", help="Only this node; repeatable. [every node]"
)
@click.option("--family", type=click.Choice(list(_FAMILIES)), default="both", show_default=True)
@click.option(
    "-o", "--output", type=click.Choice(["iptables", "json", "yaml"]), default="iptables", show_default=True
)
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write ipset.restore, iptables.restore and ip6tables.restore there; below NODE/ for several nodes.",
)
@click.option(
    "--unknown-pods",
    type=click.Choice(["allow", "deny"]),
    default="allow",
    show_default=True,
    help="What to do with addresses of the node's pod CIDRs that belong to no known pod.",
)
@manifest_options
def command(
    nodes: tuple[str, ...],
    family: str,
    output: str,
    output_dir: Path | None,
    unknown_pods: str,
    *,
    no_color: bool,  # noqa: ARG001 - the output is never coloured: it is made to be loaded
    **manifests: Any,
) -> int:
    """Show the iptables rules and ipsets that enforce the policies on a node.

    The files of --output-dir load unchanged: sets first with `ipset restore`, then the rules with
    `iptables-restore --noflush` and `ip6tables-restore --noflush`. Load them once, into a network namespace
    that holds none of podgate's rules yet.

    \b
    Examples:
      podgate render -f manifests/ --node node-1
      podgate render -f manifests/ --node node-1 --output-dir rules/
      podgate render -f manifests/ -o json | jq '.[].rulesets[].chains | length'

    A policy with invalid parts keeps its pods isolated and is reported; the rest is rendered.

    Exit codes: 0 clean, 2 error.
    """  # noqa: D301
    if output_dir is not None and output != "iptables":
        raise CommandError(f"--output-dir writes files for iptables and ipset; not with -o {output}")
    reading = read_manifests(**manifests)
    report(reading.findings)
    if reading.unreadable and output_dir is not None:
        raise CommandError(
            "some input could not be read (above); it may have been a policy, so no files are written"
        )
    resolver = Resolver.of(reading.cluster)
    settings = Settings(unknown_pods_denied=unknown_pods == "deny")
    rendered = [
        _Rendered(
            node, tuple(compile_family(resolver.view(node), each, settings) for each in _FAMILIES[family])
        )
        for node in _chosen(resolver, nodes)
    ]
    if output_dir is not None:
        _write(rendered, output_dir)
    else:
        click.echo(_text(rendered, output), nl=False)
    return status_of(reading.findings)


def _chosen(resolver: Resolver, nodes: tuple[str, ...]) -> tuple[str, ...]:
    known = resolver.nodes()
    for node in nodes:
        if node not in known:
            there = node_names(known)
            raise CommandError(
                f"no node '{plain(node)}' and no pod on it in the manifests; there are: {there}"
            )
    return tuple(dict.fromkeys(nodes)) or known or ("",)


def _text(rendered: list[_Rendered], output: str) -> str:
    if output == "json":
        return msgspec.json.format(msgspec.json.encode(rendered), indent=2).decode() + "\n"
    if output == "yaml":
        return yaml.safe_dump(msgspec.to_builtins(rendered), sort_keys=False)
    return "\n".join(_iptables_text(rendered))


def _iptables_text(rendered: Iterable[_Rendered]) -> Iterator[str]:
    for each in rendered:
        for ruleset in each.rulesets:
            node = safe_comment(each.node or "(none)")  # untrusted text: a newline must not become a rule
            yield f"# node {node}, IPv{ruleset.family}: ipset restore"
            yield render_sets(ruleset)
            yield f"# node {node}, IPv{ruleset.family}: iptables-restore --noflush"
            yield render_rules(ruleset)


def _write(rendered: list[_Rendered], folder: Path) -> None:
    for each in rendered:
        place = folder / _folder_name(each.node) if len(rendered) > 1 else folder
        try:
            place.mkdir(parents=True, exist_ok=True)
            sets = "".join(render_sets(ruleset) for ruleset in each.rulesets)
            (place / "ipset.restore").write_text(sets, encoding="utf-8")
            for ruleset in each.rulesets:
                (place / _RULE_FILES[ruleset.family]).write_text(render_rules(ruleset), encoding="utf-8")
            _remove_stale(place, {ruleset.family for ruleset in each.rulesets})
        except OSError as error:
            raise CommandError(f"cannot write {error.filename}: {error.strerror}") from error
        click.echo(f"wrote {place}/", err=True)


def _remove_stale(place: Path, families: Container[int]) -> None:
    """What an earlier call left of a family that this one leaves out would be loaded with the new sets."""
    for family, name in _RULE_FILES.items():
        if family not in families:
            (place / name).unlink(missing_ok=True)


def _folder_name(node: str) -> str:
    """A node's name as one harmless path component, another for every node.

    Names come from files that anybody wrote. A name that Kubernetes allows stays; any other is changed and
    ends in a digest, behind a `_` that no valid name has. So none can be made to fall on another's folder.
    """
    if not node:
        return _NO_NODE
    name = re.sub(r"[^a-z0-9.-]", "_", node[:_LONGEST_FOLDER]).lstrip(".-")
    if name == node != _NO_NODE:
        return name
    digest = hashlib.sha256(node.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: _LONGEST_FOLDER - len(digest) - 1]}_{digest}"

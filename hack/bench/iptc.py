"""Why python-iptables never writes for podgate: what it costs, and what it does to others' changes.

    sudo .venv/bin/python hack/bench/iptc.py [--rules 1000 10000]

Prints the figures of docs/dependencies.md. A rule is a source, a TCP port, a comment and a target. Each
figure is the best of three runs, each in a process and a network namespace of its own. Needs root and the
extra `legacy`.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Instead of this folder, where this very file would pass for the library.
sys.path[0] = str(Path(__file__).parents[2])

from controller.dataplane.iptc_dump import read_dump
from controller.dataplane.iptc_reader import HOW_TO_INSTALL, is_installed, reader_command
from controller.dataplane.parse import parse_rules

RUNS = 3
CHAIN = "PODGATE"
CRASH_TRIES = 10
RESTORE = ("iptables-legacy-restore", "--noflush", "--wait", "5")
IPTABLES = ("iptables-legacy", "--wait", "5", "-t", "mangle")


def main() -> None:
    """Print the tables for this machine; `--inside JOB COUNT` is one run of one job."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rules", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        job, count = options.inside
        print(JOBS[job](int(count)))
        return
    if not is_installed():
        sys.exit(HOW_TO_INSTALL)
    print(f"| seconds | {' | '.join(f'{count:,} rules' for count in options.rules)} |")
    print("| --- |" + " ---: |" * len(options.rules))
    for job in TIMED:
        cells = (f"{min(float(inside(job, count)) for _ in range(RUNS)):.3f}" for count in options.rules)
        print(f"| {job} | {' | '.join(cells)} |")
    print()
    for job in OBSERVED:
        print(f"{job}: {inside(job, 0)}")


def inside(job: str, count: int) -> str:
    """The answer of a job, from a namespace and with a lock that end with it; or how its process ended."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["unshare", "--net", sys.executable, __file__, "--inside", job, str(count)]
        done = ended(*command, environment=os.environ | {"XTABLES_LOCKFILE": f"{folder}/lock"})
    return done.stdout.strip() if done.returncode == 0 else f"exit {done.returncode}: {done.stderr}"


# What is timed


def text_of(count: int) -> str:
    """The rules for iptables-restore."""
    rules = "".join(
        f"-A {CHAIN} -s {source(number)}/32 -p tcp -m tcp --dport 80 "
        f"-m comment --comment r{number} -j RETURN\n"
        for number in range(count)
    )
    return f"*mangle\n:{CHAIN} - [0:0]\n{rules}COMMIT\n"


def source(number: int) -> str:
    """Another address for each rule."""
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(*command: str, text: str = "") -> str:
    """What a command prints that must succeed."""
    done = ended(*command, text=text)
    done.check_returncode()
    return done.stdout


def ended(
    *command: str, text: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """How a command ended."""
    return subprocess.run(  # noqa: S603 - constant calls
        command, input=text, env=environment, capture_output=True, text=True, check=False
    )


def restore_all(count: int) -> float:
    """From the text to the kernel."""
    text = text_of(count)
    return timed(lambda: run(*RESTORE, text=text))


def restore_one(count: int) -> float:
    """One more rule where there are so many."""
    run(*RESTORE, text=text_of(count))
    text = f"*mangle\n-A {CHAIN} -s 192.0.2.1/32 -j RETURN\nCOMMIT\n"
    return timed(lambda: run(*RESTORE, text=text))


def save_and_parse(count: int) -> float:
    """From the kernel to our values, as podgate reads it."""
    run(*RESTORE, text=text_of(count))
    return timed(lambda: parse_rules(run("iptables-legacy-save", "-t", "mangle"), 4))


def iptc_reader(count: int) -> float:
    """From the kernel to our values, as `verify --reader iptc` reads it, its process included."""
    run(*RESTORE, text=text_of(count))
    return timed(lambda: read_dump(run(*reader_command(4)), 4))


def iptc_all(count: int) -> float:
    """As the library's own batch mode does it: one commit."""
    iptc = library()
    table = iptc.Table("mangle", autocommit=False)

    def build() -> None:
        chain = table.create_chain(CHAIN)
        for number in range(count):
            chain.append_rule(iptc_rule(iptc, number))
        table.commit()

    return timed(build)


def iptc_one(count: int) -> float:
    """One more rule where there are so many."""
    run(*RESTORE, text=text_of(count))
    iptc = library()
    return timed(lambda: iptc_append(iptc))


def iptc_easy(count: int) -> float:
    """As the library's own documents say: iptc.easy."""
    run(*RESTORE, text=text_of(count))
    iptc = library()
    return timed(lambda: iptc.easy.dump_chain("mangle", CHAIN))


def iptc_rule(iptc: Any, number: int) -> Any:  # noqa: ANN401 - the library has no types
    """One rule of `text_of`."""
    rule = iptc.Rule()
    rule.src = source(number)
    rule.protocol = "tcp"
    rule.create_match("tcp").dport = "80"
    rule.create_match("comment").comment = f"r{number}"
    rule.create_target("RETURN")
    return rule


def library() -> Any:  # noqa: ANN401 - it has no types
    """Imported only where it may crash."""
    import iptc  # noqa: PLC0415

    return iptc


# What is observed


def held_lock(_: int) -> str:
    """Append with each while this process holds the lock."""
    iptc = library()
    lock = Path(os.environ["XTABLES_LOCKFILE"])
    run(*RESTORE, text=text_of(0))
    with lock.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        code = ended("iptables-legacy", "--wait", "1", "-t", "mangle", "-A", CHAIN, "-j", "RETURN").returncode
        seconds = timed(lambda: iptc_append(iptc))
    return f"iptables-legacy gives up with exit code {code}; python-iptables writes, within {seconds:.3f} s"


def iptc_append(iptc: Any) -> None:  # noqa: ANN401
    """Append one rule and commit."""
    table = iptc.Table("mangle", autocommit=False)
    iptc.Chain(table, CHAIN).append_rule(iptc_rule(iptc, 0))
    table.commit()


def lost_update(_: int) -> str:
    """Two changes at once, of one rule each, the other party's under the lock."""
    iptc = library()
    run(*RESTORE, text=text_of(2))
    table = iptc.Table("mangle", autocommit=False)
    chain = iptc.Chain(table, CHAIN)
    chain.replace_rule(iptc_rule(iptc, 7), 0)
    run(*IPTABLES, "-R", CHAIN, "2", "-s", "192.0.2.1/32", "-j", "DROP")
    table.commit()
    kept = "192.0.2.1" in run("iptables-legacy-save", "-t", "mangle")
    return "both changes are there" if kept else "the other party's change is gone, and nobody got an error"


def nflog(_: int) -> str:
    """How many processes crash that make 200 rules with NFLOG."""
    crashes = sum(
        ended(sys.executable, __file__, "--inside", "make", "200").returncode < 0 for _ in range(CRASH_TRIES)
    )
    return f"{crashes} of {CRASH_TRIES} processes crashed"


def make_nflog(count: int) -> str:
    """Rules with NFLOG, which corrupts the heap sooner or later."""
    iptc = library()
    for _ in range(count):
        rule = iptc.Rule()
        target = rule.create_target("NFLOG")
        target.nflog_group = "3"
        target.nflog_prefix = "prefix"
    return "survived"


TIMED: dict[str, Callable[[int], float]] = {
    "iptables-legacy-restore, all rules": restore_all,
    "python-iptables, all rules, one commit": iptc_all,
    "iptables-legacy-restore, one rule more": restore_one,
    "python-iptables, one rule more": iptc_one,
    "iptables-legacy-save and our parser": save_and_parse,
    "`podgate verify --reader iptc`": iptc_reader,
    "python-iptables, `easy.dump_chain`": iptc_easy,
}
OBSERVED: dict[str, Callable[[int], str]] = {
    "somebody holds the lock": held_lock,
    "somebody replaces a rule meanwhile": lost_update,
    "NFLOG": nflog,
}
JOBS: dict[str, Callable[[int], float | str]] = {**TIMED, **OBSERVED, "make": make_nflog}


if __name__ == "__main__":
    main()

"""The choices a node is compiled with."""

from msgspec import Struct

DEFAULT_MARK_MASK = 0x1FFF0000
"""12 bits of generation above one DENY bit (docs/dataplane.md).

Other programs' mark bits are never touched.
"""


DEFAULT_LOG_GROUP = 9441
"""A group that nobody else is known to listen to (ulogd 0, Calico 1 and 2, kube-router 100)."""


class MarkLayout(Struct, frozen=True):
    """Which bits of the connection mark are ours: one run, its lowest bit is DENY, the others the generation.

    Raises ValueError for a mask that is not one run of at least two bits inside 32.
    """

    mask: int = DEFAULT_MARK_MASK

    def __post_init__(self) -> None:
        run = self.mask // self.deny if self.mask > 0 else 0
        if run < 3 or run & (run + 1) or self.mask > 0xFFFFFFFF:
            raise ValueError(f"connection mark mask {self.mask:#x} is not one run of two or more bits")

    @property
    def deny(self) -> int:
        """The DENY bit: this generation was asked and said no."""
        return self.mask & -self.mask

    @property
    def generations(self) -> int:
        """How many generations there are; they are numbered from 1, as 0 is a connection without a mark."""
        return self.mask // self.deny // 2

    def value(self, generation: int, *, denied: bool = False) -> int:
        """The mark of a connection that was judged in a generation.

        Raises ValueError for a number out of range.
        """
        if not 1 <= generation <= self.generations:
            raise ValueError(f"generation {generation} is not in 1..{self.generations}")
        return generation * self.deny * 2 | (self.deny if denied else 0)


class DropLog(Struct, frozen=True):
    """That denied packets are logged: so many a second at most, of each family, to a group of NFLOG."""

    per_second: int = 10
    group: int = DEFAULT_LOG_GROUP


class Settings(Struct, frozen=True):
    """How a node view becomes rules.

    `generation` marks connections judged by these rules. `gate` puts one set lookup before the dispatch of a
    family, which pays on iptables-nft with IPv6, where an address compare costs 33 to 46 ns.
    `unknown_pods_denied` drops traffic of addresses in the node's pod CIDRs that belong to no known pod.
    `own_node_egress_allowed` exempts pods talking to their own node from egress policies (rule 2.41).
    `hairpin_by_bpf` off replaces the one xt_bpf rule by a rule per pod, for kernels without it.
    `drop_log` has denied packets logged.
    `bucket_size`: a dispatch chain longer than this is split by the next digit of the address.
    """

    generation: int = 1
    marks: MarkLayout = MarkLayout()
    gates: tuple[int, ...] = (6,)
    unknown_pods_denied: bool = False
    own_node_egress_allowed: bool = False
    hairpin_by_bpf: bool = True
    drop_log: DropLog | None = None
    bucket_size: int = 64
    inline_blocks: int = 4


DEFAULTS = Settings()
"""What a node gets when nobody says otherwise."""

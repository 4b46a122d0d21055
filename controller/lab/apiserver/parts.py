"""What one server is made of, handed to everything that answers requests."""

from msgspec import Struct

from controller.lab.apiserver.access import Access
from controller.lab.apiserver.faults import Faults
from controller.lab.apiserver.kinds import Registry
from controller.lab.apiserver.store import Store
from controller.lab.apiserver.writes import Writer


class Parts(Struct, frozen=True, kw_only=True):
    """The state of one server."""

    store: Store
    registry: Registry
    writer: Writer
    access: Access
    faults: Faults

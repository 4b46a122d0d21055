"""A publication at work: the engine changes, steps are taken and done, time passes as the test says."""

from controller.engine.resolve import Resolver
from controller.operator.publication import GRACE, Publication
from controller.operator.steps import Identity, Kind, Step
from controller.operator.worklist import Moment
from tests.unit.builder import ClusterBuilder
from tests.unit.operator.server import Server

TRIGGER = 1000.0


class Stage:
    """An engine, a publication and a server, at a moment."""

    def __init__(self, server: Server | None = None) -> None:
        self.resolver = Resolver()
        self.server = server or Server()
        self.now = 100.0
        self.publication = Publication(self.resolver)
        self._built = ClusterBuilder().build()

    @property
    def at(self) -> Moment:
        return Moment(self.now, TRIGGER)

    def become(self, builder: ClusterBuilder) -> "Stage":
        """The cluster is another one now: each object that differs is an event of its own."""
        before, after = self._built, builder.build()
        for namespace in after.namespaces:
            if namespace not in before.namespaces:
                self.resolver.put_namespace(namespace)
                self.absorb()
        for node in after.nodes:
            self.resolver.put_node(node)
            self.absorb()
        for policy in after.policies:
            self.resolver.put_policy(policy)
            self.absorb()
        for pod in after.pods:
            self.resolver.put_pod(pod)
            self.absorb()
        for gone in {each.key for each in before.policies} - {each.key for each in after.policies}:
            self.resolver.remove_policy(gone)
            self.absorb()
        for gone in {each.key for each in before.pods} - {each.key for each in after.pods}:
            self.resolver.remove_pod(gone)
            self.absorb()
        for name in {each.name for each in before.nodes} - {each.name for each in after.nodes}:
            self.resolver.remove_node(name)
            self.absorb()
        self._built = after
        return self

    def absorb(self) -> None:
        self.publication.absorb(self.resolver.take_changes(), self.at)

    def begin(self) -> "Stage":
        """A term begins with what stands."""
        self.server.tell_all(self.publication, self.at)
        for _ in self.publication.begin(self.at):
            pass
        return self

    def restarted(self) -> "Stage":
        """Another operator, which knows the same cluster and finds what this one left."""
        other = Stage(self.server)
        other.resolver, other._built, other.now = self.resolver, self._built, self.now
        other.publication = Publication(other.resolver)
        self.server.written.clear()
        return other.begin()

    def take(self) -> Step | None:
        """The next step that is needed."""
        while self.publication.has_due(self.now):
            step = self.publication.take(self.now)
            if step is not None and step.is_needed:
                return step
            if step is not None:
                self.publication.unneeded(step, self.now)
        return None

    def do(self, step: Step) -> None:
        self.publication.wrote(step, Identity(*self.server.execute(step)), self.now)

    def step(self) -> str:
        """Do the next step; its name, "" when nothing is due."""
        step = self.take()
        if step is None:
            return ""
        self.do(step)
        return step.name

    def settle(self) -> list[str]:
        """Do every step that is due now; the names in order."""
        return list(iter(self.step, ""))

    def wait(self, seconds: float = 1.0) -> list[str]:
        """Time passes, and then every step that is due is done."""
        self.now += seconds
        return self.settle()

    def wait_for_grace(self) -> list[str]:
        return self.wait(GRACE + 1) + self.wait()

    def slices(self) -> set[str]:
        return self.server.names(Kind.SLICE)

    def node_policies(self) -> set[str]:
        return self.server.names(Kind.NODE_POLICY)

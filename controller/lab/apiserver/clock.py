"""Times as Kubernetes writes them."""

from datetime import UTC, datetime


def timestamp() -> str:
    """Now, in whole seconds: metadata.creationTimestamp and friends."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

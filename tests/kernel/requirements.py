"""What the kernel tests need, in words for the reason of a skip: the same as a lab."""

from controller.lab.requirements import missing

__all__ = ["missing"]

"""Clusters without a cluster: what labs and tests of podgate run against. Not a part of the product."""

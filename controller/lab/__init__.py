"""A cluster of network namespaces: real nodes, pods, packets and rules on one machine, without containers."""

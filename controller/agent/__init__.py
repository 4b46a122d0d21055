"""The node's side: from a node view to rules in the kernel, kept there."""

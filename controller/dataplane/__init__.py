"""What the kernel is told: rulesets as values, compiled, rendered, parsed and simulated."""

"""What policies mean: selectors, inventory, peer groups, rulesets, verdicts. No input, no output."""

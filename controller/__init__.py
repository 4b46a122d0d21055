"""podgate: Kubernetes NetworkPolicy, compiled to iptables and ipset.

The folders, in the direction imports may point (`cli -> dataplane -> engine -> objects`):

- `objects`: what Kubernetes says. Typed values, defaulting, validation, reading files.
- `engine`: what policies mean. Selectors, inventory, resolve, evaluate, explain.
- `dataplane`: what the kernel is told. Rulesets, compile, render, parse, simulate.
- `cli`: one module per verb of the `podgate` command.
"""

__version__ = "0.1.0.dev0"

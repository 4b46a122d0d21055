"""What a valid policy means that its author may not have meant: one module per family of checks."""

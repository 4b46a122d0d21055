"""What a long-running podgate process says about itself: log lines, metrics, health."""

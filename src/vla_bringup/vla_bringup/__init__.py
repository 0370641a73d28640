"""Launch files, configuration, demo checkpoint and system tests; no other code."""

"""Make a checkpoint faster, and say what that costs (docs/how-to/optimise.md)."""

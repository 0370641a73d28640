"""Training: experiment in, checkpoint out."""

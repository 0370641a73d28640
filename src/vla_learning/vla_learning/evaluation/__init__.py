"""Closed-loop evaluation of a checkpoint through the real graph; needs no torch."""

"""Bags become episodes and pictures."""

"""Demonstrations: a person drives, and says how it went."""

"""Feeding the network, measured beside the straightforward way."""

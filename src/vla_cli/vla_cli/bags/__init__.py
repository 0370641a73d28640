"""The commands `vla record` and `vla bag`."""

"""Gate node: the only writer of cmd_vel."""

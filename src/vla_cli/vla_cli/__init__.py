"""The commands: vla, vla_up and the doctor."""

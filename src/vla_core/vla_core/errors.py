"""Errors of the workspace: each message says what was found, where, and what was expected."""


class VlaError(Exception):
    """Base of every error that this workspace raises on purpose."""


class ConfigError(VlaError):
    """A parameter, robot file or launch value is outside what is allowed."""


class CheckpointError(VlaError):
    """A checkpoint folder is missing, altered, or does not fit the robot."""


class ObservationError(VlaError):
    """A camera frame, state or instruction cannot be used."""


class ActionRejected(VlaError):
    """A chunk or command is malformed, not finite or out of range."""

"""Other ways from a camera to a command, on the same frames: the seed's, and a peer's node."""

"""Camera node: driver image to the size and mode that the checkpoint asks for."""

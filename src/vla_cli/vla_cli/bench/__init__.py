"""`vla bench`: what the promises come to on this machine."""

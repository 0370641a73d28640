"""Policy node: images and an instruction to action chunks."""

"""Record and replay: bags, the flight recorder and tools."""

"""`vla faults`: break a live graph, one thing at a time; compare its reaction with the rules."""

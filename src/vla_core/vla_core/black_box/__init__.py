"""Black box: the seconds before an emergency stop, as lines that a person can read."""

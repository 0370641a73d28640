"""Where training data comes from, and the one form it takes."""

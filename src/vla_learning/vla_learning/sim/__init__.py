"""The simulator as a teacher: frames, sentences, episodes, and the recipe of the demo policy."""

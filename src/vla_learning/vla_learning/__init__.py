"""Model, data, training, evaluation and export of the learned policy (needs the train extra)."""

"""Training: the data, the loop, and the entropy model's own last step."""

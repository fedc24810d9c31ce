"""Changing what the engine knows: teach, forget, feedback, checkpoints."""

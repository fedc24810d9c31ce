"""Specialists: versioned adapters (LoRA) over one frozen base model, and the router that says which may speak."""

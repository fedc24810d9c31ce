"""Specialists: versioned adapters (LoRA) over one frozen base model, and the router that says which may speak."""

import logging

# PEFT imports bitsandbytes where that is installed, which then warns of a quicker kernel that this machine has not.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

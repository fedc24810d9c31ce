"""Text to tokens and back: chat templates, streaming decode, what text may be taught or asked."""

"""The server: OpenAI-compatible, and teachable while it answers."""

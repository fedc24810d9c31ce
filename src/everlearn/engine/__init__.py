"""Answering: sessions, batches, sampling, streaming. The Engine answers; it never changes what is known."""

"""Base models: where their weights come from, and one small face over them.

`sources` resolves a name to a folder and imports neither torch nor transformers; `base`, `cache` and `encoder` do.
"""

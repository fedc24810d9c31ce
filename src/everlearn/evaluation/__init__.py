"""Measuring: does the model know what it was taught, did anything else change, what does it cost?

Everything here asks an engine and, where something must be taught first, calls what it was handed; it holds no model of
its own and prints nothing. Results are frozen records with a `to_dict` for JSON.
"""

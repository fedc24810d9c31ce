"""The studio: teach the model, see what it knows and trust it, in a browser.

A thin client: whatever it shows or does goes through the server's public API with the caller's own key, so there is
nothing here that a program could not do as well. It imports no room that holds a model.
"""

"""BERT itself: config, the layers, heads, loading and saving, inference. Begin with `bert.py`."""

"""Pretraining: masks, the run, and corpora as shards of tokens (chapter 4)."""

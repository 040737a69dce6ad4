"""Pretraining: masking, the run, and corpora stored as shards of tokens (chapter 4)."""

"""Tokenization: from text to token ids and back, and learning a vocabulary (chapter 2)."""

"""The one training loop, its optimizer, checkpoints and metrics; it knows no model (chapters 4 to 6)."""

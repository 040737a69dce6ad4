"""What a model does: evaluation, attributions, ablations, behavioral tests, model cards (chapter 6)."""

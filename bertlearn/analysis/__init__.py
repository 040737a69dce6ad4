"""Analysis of a model: evaluation, attribution, ablation, behavioral tests, model cards (chapter 6)."""

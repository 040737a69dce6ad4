"""What the notebooks' cells call so that they stay short: one module a chapter."""

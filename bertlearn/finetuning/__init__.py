"""Fine-tuning: features, labels and answers, the run, and classifiers of your own texts (chapters 5, 6)."""

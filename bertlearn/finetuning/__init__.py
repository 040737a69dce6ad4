"""Fine-tuning: features, labels and answers, the run, classifiers of your own texts (chapters 5 and 6)."""

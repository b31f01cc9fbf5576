"""From text to batches: corpus, vocabulary, tokens; each step a folder with a manifest."""

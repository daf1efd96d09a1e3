"""From text to batches of tokens: sources, tokenizers, the corpus on disk, batches."""

"""Looking into texts and models: what a model finds surprising, and what plain counting would find."""

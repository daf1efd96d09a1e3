"""Classifying sequences: the class of a text, or of a sequence of ids (network: `rhapsode.nn.classifier`)."""

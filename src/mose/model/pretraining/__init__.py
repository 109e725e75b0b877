"""Where pre-training starts and what it adds to the encoder: fresh models, and the heads that all exits share."""

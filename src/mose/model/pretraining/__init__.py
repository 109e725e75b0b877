"""Fresh models to pre-train, and the heads of pre-training, which all exits share."""

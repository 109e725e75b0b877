"""Retrieval fine-tuning: a contrastive loss at every exit."""

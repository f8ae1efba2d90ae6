"""Augury predicts what a data augmentation is worth before anyone trains on it."""

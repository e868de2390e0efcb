"""Captions and prompts: longer prompts from short ones, and language models."""

"""Recipes trained under one budget, measured alike and set side by side."""

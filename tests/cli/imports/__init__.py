"""Configurations as people run them, asked the same questions before and after they were imported."""

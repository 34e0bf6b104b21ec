"""Builders of objects, certificates, models and plans."""

"""The spoke: what the site offers and can compute, and its part of a run."""

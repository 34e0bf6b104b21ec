"""Admission of a run at this site, and the collaborator's Job, NetworkPolicy and status."""

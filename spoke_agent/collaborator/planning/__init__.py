"""Plan the Job, NetworkPolicy and status of a Collaborator, without acting. Imports only `federation` and claims."""

"""A run's part at this site: what the site allows, and the processes that do it."""

"""The product on a fleet: its images, its installation, and (later) a run to watch. The only importer of both."""

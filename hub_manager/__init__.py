"""The hub: the add-on, its certificates, the runs and their aggregators."""

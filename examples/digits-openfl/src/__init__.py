"""The code of the workspace: a model, the task runner that trains it, and the data loader that reads a site's shard."""

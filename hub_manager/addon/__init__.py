"""The add-on itself: its registration with OCM, and the deployment of its agent on every spoke that has it."""

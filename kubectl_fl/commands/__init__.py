"""One module for each command: they call kubectl, write files and print."""

"""The controller runtime: client, reflector, store, queue, lease, server-side apply."""

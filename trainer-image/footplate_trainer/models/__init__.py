"""Models outside their training: the recipes' networks, sharding, export, and loading what was exported."""

"""The embedded cluster for laptops, demos and tests: an API server, a node and an S3 server on loopback."""

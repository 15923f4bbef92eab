"""`footplate ui`: pages about jobs, rendered on this machine with your own kubeconfig."""

"""What users write in files: read as kubectl reads it, and judged without a cluster."""

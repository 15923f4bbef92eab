"""The resources users write and read, as pydantic models: the only source of crds/*.yaml."""

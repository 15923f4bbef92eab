"""The `footplate` command."""

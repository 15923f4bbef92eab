"""What is to be known of a pod while it runs and after it is gone: its log, the course of its metrics, and their way
into storage. `footplate.records` says where they lie there, and how they are read.
"""

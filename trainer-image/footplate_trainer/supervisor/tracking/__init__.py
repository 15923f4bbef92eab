"""Tells experiment trackers of the run, from node 0's supervisor, for any code that reports.

What is told is what `history.recorder` writes to the node's disk, which is also the queue of what is yet to be told.
Each tracker has a thread of its own: one that is away, slow or hostile holds up neither training nor the others.
"""

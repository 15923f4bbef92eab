"""Callbacks for other frameworks, a module each, which imports its framework: `transformers`, `lightning`, `keras` and
`accelerate`. Outside a job they do nothing.

Each reports progress and metrics, is a sign of life for the detection of hangs, and, once the job is asked to stop, has
the framework save its own checkpoint into `$FOOTPLATE_CHECKPOINT_DIR` after a step, and ends the program: what follows
the training would take a model for done that isn't.
"""

"""What other frameworks need to report and to stop as our own training does: a module each, which imports its own.

Outside a job they do nothing. Once the job is asked to stop, the framework saves its own checkpoint into
`$FOOTPLATE_CHECKPOINT_DIR` after a step, and the program ends: what follows the training would take a model for done
that isn't.
"""

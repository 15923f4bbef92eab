"""What a node shows before training: measured by processes of its own, judged without torch."""

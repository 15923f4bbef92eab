"""How fast training is, what of a step is a rank's own work, and which ranks are slower than the rest."""

"""How good a model is, exactly: `evaluate`, what it computes in numpy, and the file, plots and card that tell it."""

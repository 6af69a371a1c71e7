"""How good a judge of its own texts the model is."""

"""How many made-up secrets are found, how much of real code is taken for one, and at what cost."""

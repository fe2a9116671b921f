"""Training of the generator and of the lip-sync networks: data, losses, loops, checkpoints."""

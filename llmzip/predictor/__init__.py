"""The order in which tokens are predicted and coded: the same for encoder and decoder."""

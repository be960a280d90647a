"""Traces of models of complexes, such as AlphaFold3, OpenFold3 and Boltz: tokens, atoms, chains, samples, diffusion."""

"""Sweeps: ensembles of any size over fields of a Spec, in packs that any machine can make and no crash can lose."""

"""Lip-sync networks: the expert that trains the generator, the judge that scores it, and SyncNet v2."""

"""The papers' loss terms as pure functions on tensors.

Each is a mean over samples, so that parts of a batch, weighted by their share n/B, add up to the whole. Each
computes in float32 or better, whatever the precision the networks run in. None draws a random number.
"""

"""Networks that others trained: weights and backbones."""

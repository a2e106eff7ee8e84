"""The PatchTST model family for scalecore."""

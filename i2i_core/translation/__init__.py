"""From images and a checkpoint to translated images."""

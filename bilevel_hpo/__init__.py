"""Learn the loss weights of a multi-task model by gradient, from validation loss, in one training run."""

"""Converts pictures of handwriting to 28 x 28 images, the input of a network."""

"""From a picture of handwriting to the 28 x 28 image that a network sees."""

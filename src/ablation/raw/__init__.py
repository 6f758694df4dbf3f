"""Reads raw files into labelled characters: EMNIST, MNIST, image folders, downloads."""

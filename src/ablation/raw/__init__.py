"""From people's raw files to labelled characters: EMNIST, MNIST, folders, downloads."""

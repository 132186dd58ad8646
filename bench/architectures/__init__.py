"""Which architectures can be trained and published: a tiny model of each goes the whole way."""

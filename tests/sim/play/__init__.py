"""One play: a region, its people, a book and the daemons."""

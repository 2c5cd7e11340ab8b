"""What the region sells: server types, prices and stock."""

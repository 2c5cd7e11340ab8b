"""The checks of an installation, and the first program file."""

"""Values that every other package uses: units, observations, the program, contacts and tokens."""

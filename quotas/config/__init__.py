"""The program file: its keys, how it is read and checked, and what a new version changes."""

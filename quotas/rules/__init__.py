"""One rule, one file: each finds servers that must stop, or facts to announce."""

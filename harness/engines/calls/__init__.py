"""What a mutating call would do and what it did, for every engine that sees calls one at a time."""

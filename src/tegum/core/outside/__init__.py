"""What comes from outside, checked before native code or the memory meets it."""

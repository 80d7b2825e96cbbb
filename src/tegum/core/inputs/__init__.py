"""Files and arrays from outside, checked before native code touches them or memory is allocated for them."""

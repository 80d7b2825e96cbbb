"""What is best and what lies between: solutions over parameters, where they change places, and saddles near states."""

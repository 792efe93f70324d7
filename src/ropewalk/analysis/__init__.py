"""What can be said of an encoding without a model: numbers, and the records that pictures draw."""

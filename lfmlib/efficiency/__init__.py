"""What things cost: paired timings against the obvious alternatives, beside the floor that the hardware sets."""

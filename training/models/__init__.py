"""Networks: trunks, heads and what an age is."""
